"""The heads that requests name."""
