"""From a message to slabs, and from results to a message. Knows nothing of gRPC or asyncio. Opens into `memory`."""
