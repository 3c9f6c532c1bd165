"""Sums over rows, and counts of rows by their losses."""
