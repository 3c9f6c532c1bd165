"""Shared memory that callers lease. May import no other room."""
