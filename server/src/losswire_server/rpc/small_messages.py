"""Messages that are small in all good calls, so that what is larger is refused before it is parsed.

Health checks and reflection are methods of grpcio's, which would parse messages of any size on the event loop, while
nobody counts what arrives of them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, TypeAlias

import grpc

from losswire.errors import FieldError
from losswire.parsing import MessageT, parse
from losswire_server.calls.evaluation import LEAVING_SECONDS
from losswire_server.errors import to_status, trailers
from losswire_server.rpc.call import Context
from losswire_server.rpc.receiving.connections import Connection
from losswire_server.rpc.receiving.waits import Waits

SMALL_BYTES = 4096  # a name or a number take far less

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


def parse_small(kind: type[MessageT], data: bytes) -> MessageT:
    """Parses a message that is small.

    Raises:
        FieldError: It is not, or see `parse`.
        DecodeError: See `parse`.
    """
    if len(data) > SMALL_BYTES:
        raise FieldError("request", f"expected at most {SMALL_BYTES} bytes, got {len(data)}")
    return parse(kind, data)


class Registrar:
    """Takes the methods of a service of grpcio's in place of a gRPC server, and registers them there.

    Args:
        server: Gets the methods.
        waits: Look after calls while their messages arrive.
        kinds: The messages that methods take, by the names of these.
    """

    def __init__(self, server: grpc.aio.Server, waits: Waits, kinds: dict[str, Any]) -> None:
        self._server = server
        self._waits = waits
        self._kinds = kinds

    def add_generic_rpc_handlers(self, _: object) -> None:
        """The same methods come to `add_registered_method_handlers`."""

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        wrapped = {name: self._wrapped(handler, self._kinds[name]) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))

    def _wrapped(self, handler: Any, kind: Any) -> Handler:
        begin, serialize = partial(_SmallCall, waits=self._waits, kind=kind), handler.response_serializer
        if handler.unary_unary:
            answer = _answer_one(handler.unary_unary, begin)
            return grpc.stream_unary_rpc_method_handler(answer, None, serialize)
        if handler.unary_stream:
            answer = _answer_one(handler.unary_stream, begin)
        else:
            answer = _answer_many(handler.stream_stream, begin)
        return grpc.stream_stream_rpc_method_handler(answer, None, serialize)


class _SmallCall:
    """A call that waits for small messages.

    Attributes:
        connection: Over which it comes.
        is_stream: Whether what gRPC reads ahead of it is bounded.
        told_bytes: The size of a good message at most.
    """

    is_stream = False
    told_bytes = SMALL_BYTES

    def __init__(self, context: Context, waits: Waits, kind: Any) -> None:
        self.connection: Connection = waits.connections.of(context.peer())
        self._context = context
        self._waits = waits
        self._kind = kind
        self._task = asyncio.current_task()
        self._refusal: Exception | None = None

    def refuse(self, error: Exception) -> None:
        """Ends the call with an error. It does so only while a message is on its way."""
        if self._refusal is None and self._task is not None:
            self._refusal = error
            self._task.cancel()

    async def only_message(self) -> Any:
        message = await self._next()
        if message is None:
            await asyncio.sleep(LEAVING_SECONDS)
        return message or self._kind()

    async def messages(self) -> AsyncIterator[Any]:
        while (message := await self._next()) is not None:
            yield message

    async def _next(self) -> Any:
        try:
            data = await self._read()
            if isinstance(data, bytes):
                return self._parsed(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, the table of errors has it
            await self._fail(error)
        return None

    async def _read(self) -> Any:
        self._waits.begin_receiving(self)
        try:
            return await self._context.read()
        except asyncio.CancelledError:
            if self._refusal is None or self._task is None:
                self._waits.left(self)
                raise
            self._task.uncancel()
            raise self._refusal from None
        finally:
            self._waits.end_receiving(self)

    def _parsed(self, data: bytes) -> Any:
        self.connection.came(len(data))
        return parse_small(self._kind, data)

    async def _fail(self, error: Exception) -> None:
        status = to_status(error)
        await self._context.abort(status.code, status.details, trailers(error, status))


Begin: TypeAlias = Callable[[Context], _SmallCall]


def _answer_one(method: Any, begin: Begin) -> Any:
    async def answer(_: object, context: Context) -> Any:
        return await method(await begin(context).only_message(), context)

    return answer


def _answer_many(method: Any, begin: Begin) -> Any:
    async def answer(_: object, context: Context) -> AsyncIterator[Any]:
        async for response in method(begin(context).messages(), context):
            yield response

    return answer
