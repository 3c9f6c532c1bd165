"""The standard health service. Its watchers keep neither each other waiting nor the server from stopping."""

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from losswire_server.rpc.receiving.waits import Waits
from losswire_server.rpc.small_messages import Registrar

SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService(health.aio.HealthServicer):
    """Ends the streams of `Watch` when told to. In grpcio's own service they last until their callers leave.

    There, a watcher has a lock while it is told a status. One that does not read would keep the others waiting, and
    whoever changes a status too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._server_status: dict[str, Any]  # of the class above, whose stubs do not tell
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        watching = asyncio.ensure_future(self._watch(request.service, context))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({watching, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.cancel()
            ended.cancel()

    async def _watch(self, service: str, context: Any) -> None:
        told = None
        while True:
            changed, status = self._changed, self._server_status.get(service, SERVICE_UNKNOWN)
            if status != told:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                told = status
            await changed.wait()

    async def _set(self, service: str, status: Any) -> None:
        self._server_status[service] = status
        self._changed.set()
        self._changed = asyncio.Event()

    def add_to(self, server: grpc.aio.Server, waits: Waits) -> None:
        """Registers the methods, which take small messages alone."""
        messages: Any = health_pb2  # the stubs do not know the newest
        check = messages.HealthCheckRequest
        kinds = {"Check": check, "Watch": check, "List": messages.HealthListRequest}
        add: Any = health_pb2_grpc.add_HealthServicer_to_server
        add(self, Registrar(server, waits, kinds))

    def end_watches(self) -> None:
        self._ended.set()
