"""Slabs of many callers, merged into launches and apart again."""
