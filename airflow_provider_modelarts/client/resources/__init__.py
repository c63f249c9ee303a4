"""One module per resource of the service: its models and its calls, side by side."""
