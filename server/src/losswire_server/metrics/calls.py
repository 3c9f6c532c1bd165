"""The calls served, under the names that gRPC dashboards know from go-grpc-prometheus."""

import time
from dataclasses import dataclass

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from prometheus_client import CollectorRegistry, Counter, Histogram

from losswire_server.metrics.instruments import by_value, counter, exemplar, histogram
from losswire_server.metrics.refusals import RefusalMetrics

TYPES = {  # by whether the request and the response are streams
    (False, False): "unary",
    (True, False): "client_stream",
    (False, True): "server_stream",
    (True, True): "bidi_stream",
}


class RpcMetrics:
    """Counts the calls of some services, whose methods have different names.

    All labels are closed sets, so every time series exists from the start.
    """

    def __init__(self, registry: CollectorRegistry, *services: ServiceDescriptor) -> None:
        self._started = counter(registry, "grpc_server_started_total")
        self._handled = counter(registry, "grpc_server_handled_total")
        self._received = counter(registry, "grpc_server_msg_received_total")
        self._sent = counter(registry, "grpc_server_msg_sent_total")
        self._seconds = histogram(registry, "grpc_server_handling_seconds")
        self._refused = RefusalMetrics(registry)
        self._methods = {method.name: self._method(method) for service in services for method in service.methods}

    def method(self, name: str) -> "MethodMetrics":
        """The counters of the method of that name."""
        return self._methods[name]

    def _method(self, method: MethodDescriptor) -> "MethodMetrics":
        streams = method.client_streaming, method.server_streaming
        labels = TYPES[streams], method.containing_service.full_name, method.name
        return MethodMetrics(
            name=method.name,
            is_stream=method.client_streaming,
            started=self._started.labels(*labels),
            handled={code: self._handled.labels(*labels, code_label(code)) for code in grpc.StatusCode},
            received=self._received.labels(*labels),
            sent=self._sent.labels(*labels),
            seconds=self._seconds.labels(*labels),
            refused=self._refused,
        )


@dataclass(frozen=True)
class MethodMetrics:
    """The counters of one method.

    Attributes:
        is_stream: Whether many messages may come in a call.
        refused: Counts the calls of all methods that were refused.
    """

    name: str
    is_stream: bool
    started: Counter
    handled: dict[grpc.StatusCode, Counter]
    received: Counter
    sent: Counter
    seconds: Histogram
    refused: RefusalMetrics

    def start(self) -> float:
        """Counts the start of a call; returns what `end` needs."""
        self.started.inc()
        return time.perf_counter()

    def end(self, start: float, code: grpc.StatusCode, error: Exception | None = None, trace_id: str = "") -> float:
        """Counts the end of a call, whatever the reason; returns the seconds that the call took.

        Args:
            start: What `start` returned.
            code: How the call has ended.
            error: What ended it, if anything did but the caller.
            trace_id: Of its trace, if that is sampled.
        """
        self.refused.count(error)
        seconds = time.perf_counter() - start
        self.seconds.observe(seconds, exemplar(trace_id))
        self.handled[code].inc()
        return seconds


class PackMetrics:
    """Counts the requests of ``BatchEvaluate``, since the call's own code does not tell how each of them ended.

    Their number divided by the number of calls is the mean number of requests in a call.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "losswire_batch_requests_total"
        requests = by_value(counter(registry, name), name)
        self._requests = {code: requests[code_label(code)] for code in grpc.StatusCode}

    def count(self, code: grpc.StatusCode, requests: int = 1) -> None:
        """Counts requests that ended with that code."""
        self._requests[code].inc(requests)


def code_label(code: grpc.StatusCode) -> str:
    """The code as Go spells it, which is what dashboards match: ``OK``, ``InvalidArgument``."""
    return "OK" if code is grpc.StatusCode.OK else code.name.title().replace("_", "")
