"""A server that hands all calls on to another one, but may refuse them, or lose their answers."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_status import rpc_status

from losswire import v1


class Refusal(NamedTuple):
    """How a call ends instead of with its answer."""

    code: grpc.StatusCode
    text: str
    details: Sequence[Message] = ()

    def end(self, context: grpc.ServicerContext) -> None:
        status = status_pb2.Status(code=self.code.value[0], message=self.text)
        for detail in self.details:
            status.details.add().Pack(detail)
        context.abort_with_status(rpc_status.to_status(status))


@dataclass
class Relay(grpc.GenericRpcHandler):
    """Hands calls on as bytes.

    Attributes:
        channel: To where.
        target: Its own address.
        asked: The calls that came: names of methods, and first messages.
        refusals: Ends of the next calls, one each. They are not handed on.
        lost: Ends of the next evaluations and deletions, one each, which are handed on all the same.
        watches: Calls of `WatchRun` that are under way, at the other server.
        before_answer: Is called with each answer to an evaluation, before it is handed back.
    """

    channel: grpc.Channel
    target: str = ""
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    lost: list[Refusal] = field(default_factory=list)
    watches: list[grpc.Call] = field(default_factory=list)
    before_answer: Callable[[bytes], object] = lambda _: None

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        def handle(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            method, first = details.method.rpartition("/")[2], next(messages)
            self.asked.append((method, first))
            if self.refusals:
                self.refusals.pop(0).end(context)
            yield from self._answers(details.method, _again(first, messages), context)

        return grpc.stream_stream_rpc_method_handler(handle)

    @property
    def transports(self) -> list[str]:
        """How evaluations came."""
        return [_transport(*call) for call in self.asked if "Evaluate" in call[0]]

    def requests(self, method: str, kind: type[Any]) -> list[Any]:
        """The requests that came for a method."""
        return [kind.FromString(first) for called, first in self.asked if called == method]

    def _answers(self, method: str, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        method_there: Any = self.channel.stream_stream(method)
        call = method_there(messages, metadata=_metadata(context))
        context.add_callback(call.cancel)
        watches = self.watches if method.endswith("/WatchRun") else []
        watches.append(call)
        try:
            if self.lost and ("Evaluate" in method or method.endswith("/DeleteRun")):
                list(call)
                self.lost.pop(0).end(context)
            for answer in call:
                if "Evaluate" in method:
                    self.before_answer(answer)
                yield answer
        except grpc.RpcError:
            if self.refusals:
                self.refusals.pop(0).end(context)
            context.set_trailing_metadata(call.trailing_metadata())
            context.abort(call.code(), call.details())
        finally:
            watches.remove(call)


@contextmanager
def relaying(target: str) -> Iterator[Relay]:
    """A relay to a server, on a free port."""
    with grpc.insecure_channel(target) as channel:
        relay, server = Relay(channel), grpc.server(ThreadPoolExecutor(64), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((relay,))
        relay.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield relay
        finally:
            server.stop(None).wait()


def _again(first: bytes, messages: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from messages


def _metadata(context: grpc.ServicerContext) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value) for key, value in context.invocation_metadata() if key != "user-agent")


def _transport(method: str, first: bytes) -> str:
    if method == "BatchEvaluate":
        return f"pack of {len(v1.BatchEvaluateRequest.FromString(first).requests)}"
    if method == "EvaluateStream":
        return "stream"
    return "shared_memory" if v1.EvaluateRequest.FromString(first).input.HasField("shared_memory") else "unary"
