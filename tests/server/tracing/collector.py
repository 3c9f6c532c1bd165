"""A collector of OTLP, as small as one can be: it keeps what it is sent."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, collector: "Collector") -> None:
        self._collector = collector

    def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - as the contract has it
        self._collector.spans += request.resource_spans
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, collector: "Collector") -> None:
        self._collector = collector

    def Export(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802
        self._collector.metrics += request.resource_metrics
        return metrics_service_pb2.ExportMetricsServiceResponse()


class Collector:
    """What came: messages of OTLP.

    Attributes:
        spans: By resource and scope.
        metrics: The same.
        port: On loopback.
    """

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        self.port = 0

    def all_spans(self) -> list[Any]:
        return [span for resource in self.spans for scope in resource.scope_spans for span in scope.spans]

    def all_metrics(self) -> list[Any]:
        return [metric for resource in self.metrics for scope in resource.scope_metrics for metric in scope.metrics]


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(collector), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(collector), server)
    collector.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector
    finally:
        server.stop(0).wait()
