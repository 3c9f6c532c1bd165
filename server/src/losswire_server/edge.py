"""The edge of the service: where exceptions become statuses, and where calls are counted, however they end."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import grpc

from losswire_server.errors import log_failure, to_status, trailers
from losswire_server.rpc_metrics import MethodMetrics, RpcMetrics

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

HANDLERS: dict[tuple[bool, bool], Callable[..., Handler]] = {  # by whether the request and the response are streams
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Edge:
    """Stands around every method of the service, from when it is registered; not around health checks and the like."""

    def __init__(self, metrics: RpcMetrics) -> None:
        self._metrics = metrics

    def around(self, name: str, handler: Handler) -> Handler:
        """The handler of the method of that name, with all that ends its calls seen to."""
        wrap = _many_answers if handler.response_streaming else _one_answer
        return HANDLERS[handler.request_streaming, handler.response_streaming](
            wrap(handler, self._metrics.method(name)),
            request_deserializer=None,  # done here, where its errors are translated
            response_serializer=handler.response_serializer,
        )


def _one_answer(handler: Handler, metrics: MethodMetrics) -> Callable[[Any, Context], Awaitable[Any]]:
    behaviour: Any = handler.unary_unary or handler.stream_unary
    receive = _receiver(handler, metrics)

    async def answer(request: Any, context: Context) -> Any:
        start = metrics.start()
        try:
            response = await behaviour(receive(request), context)
        except BaseException as error:
            await _fail(error, context, metrics, start)
            raise
        metrics.sent.inc()
        metrics.end(start, grpc.StatusCode.OK)
        return response

    return answer


def _many_answers(handler: Handler, metrics: MethodMetrics) -> Callable[[Any, Context], AsyncIterator[Any]]:
    behaviour: Any = handler.unary_stream or handler.stream_stream
    receive = _receiver(handler, metrics)

    async def answer(request: Any, context: Context) -> AsyncIterator[Any]:
        start = metrics.start()
        try:
            async for response in behaviour(receive(request), context):
                metrics.sent.inc()
                yield response
        except BaseException as error:
            await _fail(error, context, metrics, start)
            raise
        metrics.end(start, grpc.StatusCode.OK)

    return answer


def _receiver(handler: Handler, metrics: MethodMetrics) -> Callable[[Any], Any]:
    """Counts and parses what comes, be it one message or many."""
    parse = handler.request_deserializer

    def receive(data: bytes) -> Any:
        metrics.received.inc()
        return parse(data) if parse else data

    async def receive_many(stream: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for data in stream:
            yield receive(data)

    return receive_many if handler.request_streaming else receive


async def _fail(error: BaseException, context: Context, metrics: MethodMetrics, start: float) -> None:
    """Counts a call that did not end well, and tells the caller why, who may have left."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        metrics.end(start, _why_cancelled(context))
    elif isinstance(error, Exception):  # whatever it is, the server lives on
        status = to_status(error)
        log_failure(error, status.code, metrics.name)
        _forget_frames(error)
        metrics.end(start, status.code)  # before the caller hears of it, who may then look at the metrics
        await context.abort(status.code, status.details, trailers(error, status))


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
