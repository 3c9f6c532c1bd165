"""Evaluations that many workers add to, each part under a key: `Run` and `AsyncRun`."""
