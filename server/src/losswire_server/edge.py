"""The edge of the service: where exceptions become statuses, and where calls are counted, however they end."""

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc

from losswire_server.errors import to_status, trailers
from losswire_server.rpc_metrics import MethodMetrics, RpcMetrics

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

HANDLERS: dict[tuple[bool, bool], Callable[..., Handler]] = {  # by whether the request and the response are streams
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

log = logging.getLogger(__name__)


class Edge(grpc.aio.ServerInterceptor):
    """Stands around every method that the metrics know. Others, as those of health checks, pass through."""

    def __init__(self, metrics: RpcMetrics) -> None:
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        handler = await continuation(handler_call_details)
        metrics = self._metrics.method(handler_call_details.method)
        return handler if handler is None or metrics is None else _around(handler, metrics)


def _around(handler: Handler, metrics: MethodMetrics) -> Handler:
    behaviour: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    receive = _receive_many if handler.request_streaming else _receive_one

    async def answer_one(request: Any, context: Context) -> Any:
        async with _call(context, metrics):
            response = await behaviour(receive(request, handler, metrics), context)
            metrics.sent.inc()
            return response

    async def answer_many(request: Any, context: Context) -> AsyncIterator[Any]:
        async with _call(context, metrics):
            async for response in behaviour(receive(request, handler, metrics), context):
                metrics.sent.inc()
                yield response

    return HANDLERS[handler.request_streaming, handler.response_streaming](
        answer_many if handler.response_streaming else answer_one,
        request_deserializer=None,  # done here, where its errors are translated
        response_serializer=handler.response_serializer,
    )


def _receive_one(data: bytes, handler: Handler, metrics: MethodMetrics) -> Any:
    metrics.received.inc()
    return handler.request_deserializer(data) if handler.request_deserializer else data


async def _receive_many(stream: AsyncIterator[bytes], handler: Handler, metrics: MethodMetrics) -> AsyncIterator[Any]:
    async for data in stream:
        yield _receive_one(data, handler, metrics)


@asynccontextmanager
async def _call(context: Context, metrics: MethodMetrics) -> AsyncIterator[None]:
    start = metrics.start()
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        metrics.end(start, _why_cancelled(context))
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the server lives on
        status = to_status(error)
        _log(error, status.code, metrics.name)
        _forget_frames(error)
        metrics.end(start, status.code)  # before the caller hears of it, who may then look at the metrics
        await context.abort(status.code, status.details, trailers(error, status))
    else:
        metrics.end(start, grpc.StatusCode.OK)


def _log(error: Exception, code: grpc.StatusCode, method: str) -> None:
    if code is grpc.StatusCode.INTERNAL:
        log.error("internal error", extra={"method": method}, exc_info=error)
    else:
        log.debug("call refused", extra={"method": method, "code": code.name, "problem": str(error)})


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
