"""The trigger that waits for a labeling task without holding a worker."""
