"""The standard health service. Its watchers do not keep the server from stopping."""

import asyncio
from typing import Any

from grpc_health.v1 import health, health_pb2


class HealthService(health.aio.HealthServicer):
    """Ends the streams of `Watch` when told to. In grpcio's own service they last until their callers leave."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = asyncio.Event()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        watching = asyncio.ensure_future(super().Watch(request, context))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({watching, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            ended.cancel()

    def end_watches(self) -> None:
        self._ended.set()
