"""The edge of the service. Exceptions become statuses here; calls are counted, logged and traced, however they end."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import grpc

from losswire_server.calls.evaluation import Caller
from losswire_server.errors import log_failure, to_status, trailers
from losswire_server.metrics.calls import RpcMetrics
from losswire_server.metrics.stages import StageMetrics
from losswire_server.rpc.access_log import AccessLog
from losswire_server.rpc.call import Call, Context
from losswire_server.rpc.gate import Gate
from losswire_server.rpc.receiving.waits import Waits
from losswire_server.rpc.security.guard import Guard
from losswire_server.rpc.small_messages import SMALL_BYTES
from losswire_server.tracing.call_trace import OFF, Tracing

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Method(NamedTuple):
    """How the calls of an RPC are answered.

    Attributes:
        answer: Takes the message, or an iterator of messages, and who calls. Returns one answer, or an iterator too.
        parse: Turns the bytes of a message, which is small, into what `answer` takes; None if it takes bytes.
        serialize: Turns an answer into bytes; None if it is bytes.
        many_messages: Whether many messages may come.
        many_answers: Whether many answers may be sent.
        most_bytes: That a good message has, if `parse` is not None.
    """

    answer: Callable[[Any, Caller], Any]
    parse: Callable[[bytes], Any] | None = None
    serialize: Callable[[Any], bytes] | None = None
    many_messages: bool = False
    many_answers: bool = False
    most_bytes: int = SMALL_BYTES


class Edge:
    """Wraps every method of the service when it is registered, but not the methods of health checks and reflection.

    To gRPC all requests are streams: so a call is admitted before its message is read, and counted while it arrives.
    What a caller sends is the same.
    """

    def __init__(
        self,
        metrics: RpcMetrics,
        access_log: AccessLog,
        waits: Waits,
        stages: StageMetrics,
        gate: Gate,
        guard: Guard,
        tracing: Tracing = OFF,
    ) -> None:
        self._metrics = metrics
        self._access_log = access_log
        self._waits = waits
        self._stages = stages
        self._gate = gate
        self._guard = guard
        self._tracing = tracing

    def around(self, name: str, method: Method) -> Handler:
        """The handler of the method of that name, wrapped to count, log and trace calls and to translate errors."""
        metrics = self._metrics.method(name)
        most_bytes = method.most_bytes if method.parse else None
        begin = partial(
            Call, metrics, self._access_log, self._waits, self._stages, tracing=self._tracing, most_bytes=most_bytes
        )
        if method.many_answers:
            return grpc.stream_stream_rpc_method_handler(
                _many_answers(method, begin, self._admit), None, method.serialize
            )
        return grpc.stream_unary_rpc_method_handler(_one_answer(method, begin, self._admit), None, method.serialize)

    def _admit(self, call: Call) -> None:
        """Lets a call in, before its message is read."""
        self._gate.enter()
        call.identify(self._guard)
        call.admit()


Admit: TypeAlias = Callable[[Call], None]


def _one_answer(method: Method, begin: Callable[[Context], Call], admit: Admit) -> Any:
    async def answer(_: Any, context: Context) -> Any:
        call = begin(context)
        try:
            admit(call)
            response = await method.answer(await _message(method, call), call.caller)
        except BaseException as error:
            await _fail(call.cause(error), call)
            raise
        call.sends(response)
        call.end(grpc.StatusCode.OK)
        return response

    return answer


def _many_answers(method: Method, begin: Callable[[Context], Call], admit: Admit) -> Any:
    async def answer(_: Any, context: Context) -> AsyncIterator[Any]:
        call = begin(context)
        try:
            admit(call)
            message = call.messages() if method.many_messages else await _message(method, call)
            async for response in method.answer(message, call.caller):
                call.sends(response)
                yield response
                call.sent()
                call.check_refusal()
        except BaseException as error:
            await _fail(call.cause(error), call)
            raise
        call.end(grpc.StatusCode.OK)

    return answer


async def _message(method: Method, call: Call) -> Any:
    """The message of a call that has one. It is parsed here, where errors are translated."""
    data = await call.only_message()
    return method.parse(data) if method.parse else data


async def _fail(error: BaseException, call: Call) -> None:
    """Counts a failed call, and tells the caller why, unless the caller has left."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        call.leave(_why_cancelled(call.context))
    elif isinstance(error, Exception):  # whatever it is, the server goes on
        status = to_status(error)
        log_failure(error, status.code, call.method)
        _forget_frames(error)
        call.end(status.code, error)  # before the caller gets the status and may look at the metrics
        await call.context.abort(status.code, status.details, trailers(error, status))


def _forget_frames(error: BaseException | None) -> None:
    """Frees requests, and regions of shared memory, that the error's frames hold.

    grpcio keeps an aborted call and its error in a reference cycle, so they would stay until a garbage collection. A
    frame that is cleared still has what its function closes over, as a generator's expression does.
    """
    seen = set[int]()  # an error may be among its own causes, and this runs on the event loop
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _why_cancelled(context: Context) -> grpc.StatusCode:
    remaining = context.time_remaining()
    expired = remaining is not None and remaining <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if expired else grpc.StatusCode.CANCELLED
