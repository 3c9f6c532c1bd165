"""Slabs of many callers, merged into launches and split again."""
