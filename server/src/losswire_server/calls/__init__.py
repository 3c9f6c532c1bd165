"""Calls, from bytes to bytes, in asyncio: one file a kind of call. Opens into `requests`, `memory` and `metrics`."""
