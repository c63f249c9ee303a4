"""DAGs to copy; each runs in the tests of this package."""
