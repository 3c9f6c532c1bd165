"""Losses by the series that callers name: sums for exact means, and counts of rows by their losses."""
