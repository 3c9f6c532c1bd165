"""Calls, from bytes to bytes, in asyncio: one file a kind of call. May import `requests`, `memory` and `metrics`."""
