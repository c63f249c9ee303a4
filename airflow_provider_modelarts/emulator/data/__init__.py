"""Images and their proposals."""
