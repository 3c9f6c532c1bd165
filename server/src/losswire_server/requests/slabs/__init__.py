"""Requests whose elements come in slabs."""
