"""What each call of the service does."""
