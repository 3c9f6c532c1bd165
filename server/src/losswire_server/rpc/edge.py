"""The edge of the service: where exceptions become statuses, and where calls are told of, however they end."""

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
    """Stands around every method of the service, from when it is registered; not around health checks and the like."""

    def __init__(self, metrics: RpcMetrics, access_log: AccessLog) -> None:
        self._metrics = metrics
        self._access_log = access_log

    def around(self, name: str, handler: Handler) -> Handler:
        """The handler of the method of that name, with all that ends its calls seen to."""
        wrap = _many_answers if handler.response_streaming else _one_answer
        return HANDLERS[handler.request_streaming, handler.response_streaming](
            wrap(handler, partial(Call, self._metrics.method(name), self._access_log)),
            request_deserializer=None,  # done here, where its errors are translated
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
    """Counts and parses what comes, be it one message or many."""
    parse = handler.request_deserializer

    def receive(data: bytes) -> Any:
        call.received(data)
        return parse(data) if parse else data

    async def receive_many(stream: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in stream:
            yield receive(data)

    return receive_many(request) if handler.request_streaming else receive(request)


async def _fail(error: BaseException, call: Call) -> None:
    """Counts a call that did not end well, and tells the caller why, who may have left."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        call.end(_why_cancelled(call.context))
    elif isinstance(error, Exception):  # whatever it is, the server lives on
        status = to_status(error)
        log_failure(error, status.code, call.method)
        _forget_frames(error)
        call.end(status.code)  # before the caller hears of it, who may then look at the metrics
        await call.context.abort(status.code, status.details, trailers(error, status))


def _forget_frames(error: BaseException | None) -> None:
    """Lets go of requests, and regions of shared memory, that the error's frames hold.

    An aborted call is part of a cycle of grpcio's with its error, so that they would stay until a garbage collection.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _why_cancelled(context: Context) -> grpc.StatusCode:
    remaining = context.time_remaining()
    expired = remaining is not None and remaining <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
