"""Heads: output layers that the server holds, from its operator's files or from callers."""
