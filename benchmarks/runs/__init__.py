"""Measures what keys of runs cost, and a run of a million keys: `__main__` says how."""
