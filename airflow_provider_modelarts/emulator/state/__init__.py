"""What the emulated service holds."""
