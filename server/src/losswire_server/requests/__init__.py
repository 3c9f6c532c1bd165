"""From a message to slabs, and from results to a message. Uses no gRPC calls and no asyncio. May import `memory`."""
