"""Reading a dataset's proposals while they change."""
