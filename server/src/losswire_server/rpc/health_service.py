"""The standard health service. Its watchers do not keep the server from stopping."""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from losswire_server.rpc.receiving.waits import Waits
from losswire_server.rpc.small_messages import Registrar


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

    def add_to(self, server: grpc.aio.Server, waits: Waits) -> None:
        """Registers the methods, which take small messages alone."""
        messages: Any = health_pb2  # the stubs do not know the newest
        check = messages.HealthCheckRequest
        kinds = {"Check": check, "Watch": check, "List": messages.HealthListRequest}
        add: Any = health_pb2_grpc.add_HealthServicer_to_server
        add(self, Registrar(server, waits, kinds))

    def end_watches(self) -> None:
        self._ended.set()
