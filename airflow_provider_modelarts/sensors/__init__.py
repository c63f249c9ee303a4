"""The sensor that waits for a labeling task."""
