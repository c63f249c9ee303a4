"""Files in folders and object storage: written whole, sealed with a digest, read back with a check."""
