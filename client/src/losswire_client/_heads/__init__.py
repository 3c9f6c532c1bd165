"""Heads that servers hold: they are registered here, also for calls whose server lacks them. Imports `_transports`."""
