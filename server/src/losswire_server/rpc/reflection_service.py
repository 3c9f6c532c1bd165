"""The standard reflection service, for callers that the guard knows."""

from collections.abc import AsyncIterable
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from losswire_server.errors import UnauthenticatedError, to_status
from losswire_server.rpc.receiving.waits import Waits
from losswire_server.rpc.security.guard import Context, Guard
from losswire_server.rpc.small_messages import Registrar


class ReflectionService(reflection.aio.ReflectionServicer):
    """Tells the contract of some services."""

    def __init__(self, names: tuple[str, ...], guard: Guard) -> None:
        super().__init__(names)
        self._guard = guard

    def add_to(self, server: grpc.aio.Server, waits: Waits) -> None:
        """Registers the method, which takes small messages alone."""
        kinds = {"ServerReflectionInfo": reflection_pb2.ServerReflectionRequest}
        add: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
        add(self, Registrar(server, waits, kinds))

    async def ServerReflectionInfo(
        self, request_iterator: AsyncIterable[reflection_pb2.ServerReflectionRequest], context: Context
    ) -> Any:
        try:
            self._guard.identify(context)
        except UnauthenticatedError as error:
            status = to_status(error)
            await context.abort(status.code, status.details, status.trailing_metadata)
        answers: Any = super().ServerReflectionInfo(request_iterator, context)
        async for answer in answers:
            yield answer
