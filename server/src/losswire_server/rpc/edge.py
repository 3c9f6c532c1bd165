"""The edge of the service. Here exceptions become statuses, and calls are counted and logged, however they end."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import grpc

from losswire_server.errors import log_failure, to_status, trailers
from losswire_server.metrics.calls import RpcMetrics
from losswire_server.rpc.access_log import AccessLog
from losswire_server.rpc.call import Call, Context

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

HANDLERS: dict[tuple[bool, bool], Callable[..., Handler]] = {  # by whether the request and the response are streams
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Edge:
    """Wraps every method of the service when it is registered, but not the methods of health checks and reflection."""

    def __init__(self, metrics: RpcMetrics, access_log: AccessLog) -> None:
        self._metrics = metrics
        self._access_log = access_log

    def around(self, name: str, handler: Handler) -> Handler:
        """The handler of the method of that name, wrapped to count and log its calls and to translate its errors."""
        wrap = _many_answers if handler.response_streaming else _one_answer
        return HANDLERS[handler.request_streaming, handler.response_streaming](
            wrap(handler, partial(Call, self._metrics.method(name), self._access_log)),
            request_deserializer=None,  # the wrapper parses, and translates its errors
            response_serializer=handler.response_serializer,
        )


def _one_answer(handler: Handler, begin: Callable[[Context], Call]) -> Callable[[Any, Context], Awaitable[Any]]:
    behaviour: Any = handler.unary_unary or handler.stream_unary

    async def answer(request: Any, context: Context) -> Any:
        call = begin(context)
        try:
            response = await behaviour(_receive(handler, request, call), context)
        except BaseException as error:
            await _fail(error, call)
            raise
        call.sent(response)
        call.end(grpc.StatusCode.OK)
        return response

    return answer


def _many_answers(handler: Handler, begin: Callable[[Context], Call]) -> Callable[[Any, Context], AsyncIterator[Any]]:
    behaviour: Any = handler.unary_stream or handler.stream_stream

    async def answer(request: Any, context: Context) -> AsyncIterator[Any]:
        call = begin(context)
        try:
            async for response in behaviour(_receive(handler, request, call), context):
                call.sent(response)
                yield response
        except BaseException as error:
            await _fail(error, call)
            raise
        call.end(grpc.StatusCode.OK)

    return answer


def _receive(handler: Handler, request: Any, call: Call) -> Any:
    """Counts and parses the incoming message or messages."""
    parse = handler.request_deserializer

    def receive(data: bytes) -> Any:
        call.received(data)
        return parse(data) if parse else data

    async def receive_many(stream: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in stream:
            yield receive(data)

    return receive_many(request) if handler.request_streaming else receive(request)


async def _fail(error: BaseException, call: Call) -> None:
    """Counts a failed call, and tells the caller why, unless the caller has left."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        call.end(_why_cancelled(call.context))
    elif isinstance(error, Exception):  # whatever it is, the server goes on
        status = to_status(error)
        log_failure(error, status.code, call.method)
        _forget_frames(error)
        call.end(status.code)  # before the caller gets the status and may look at the metrics
        await call.context.abort(status.code, status.details, trailers(error, status))


def _forget_frames(error: BaseException | None) -> None:
    """Frees requests, and regions of shared memory, that the error's frames hold.

    grpcio keeps an aborted call and its error in a reference cycle, so they would stay until a garbage collection.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _why_cancelled(context: Context) -> grpc.StatusCode:
    remaining = context.time_remaining()
    expired = remaining is not None and remaining <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
