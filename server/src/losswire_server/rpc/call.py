"""A call to the service, from its start to its end."""

import time
from typing import Any, TypeAlias

import grpc

from losswire_server.calls.evaluation import Caller
from losswire_server.metrics.calls import MethodMetrics
from losswire_server.rpc.access_log import AccessLog

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Call:
    """Counts one call in the metrics, and writes it to the access log once it has ended, whatever the reason."""

    def __init__(self, metrics: MethodMetrics, access_log: AccessLog, context: Context) -> None:
        self.method = metrics.name
        self.context = context
        self._metrics = metrics
        self._access_log = access_log
        self._received_bytes = self._sent_bytes = 0
        self._peer = context.peer()  # now: grpcio crashes if asked after the server has stopped
        self._start = metrics.start()

    def received(self, message: bytes) -> None:
        self._metrics.received.inc()
        self._received_bytes += len(message)

    def sent(self, message: Any) -> None:
        self._metrics.sent.inc()
        self._sent_bytes += len(message) if isinstance(message, bytes) else message.ByteSize()

    def end(self, code: grpc.StatusCode) -> None:
        seconds = self._metrics.end(self._start, code)
        received, sent = self._received_bytes, self._sent_bytes
        self._access_log.add(self.method, self._peer, code, received, sent, seconds)


def caller_of(context: Context) -> Caller:
    """Who makes a call, and until when: the same for all calls of a connection but the deadline."""
    remaining = context.time_remaining()
    return Caller(context.peer(), None if remaining is None else time.monotonic() + remaining)
