"""A long mix of all kinds of call, with killed clients and restarts: every answer is checked, and nothing may grow."""
