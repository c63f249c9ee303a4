"""Operators that start, stop and confirm labeling tasks."""
