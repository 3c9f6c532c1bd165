"""Shared memory that callers lease. Opens into no other room."""
