"""Writing: one thread, and bundles of entries in one transaction each."""
