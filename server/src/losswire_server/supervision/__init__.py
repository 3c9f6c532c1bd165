"""One port served by several processes: starts them, starts dead ones anew, adds their metrics up.

Loads neither torch nor grpc: the supervisor only waits, and what it does not load cannot break it.
"""
