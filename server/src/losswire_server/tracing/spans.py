"""Spans and a metric of calls, by OpenTelemetry's API. What becomes of them is up to the process."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import grpc
from google.rpc import error_details_pb2
from opentelemetry import context as contexts
from opentelemetry import metrics, propagate, trace
from opentelemetry.util.types import AttributeValue

from losswire.v1 import loss_service_pb2
from losswire_server.errors import to_rpc_status
from losswire_server.tracing import conventions
from losswire_server.tracing.recording import NOTHING, Recording, Step

SCOPE = "losswire_server"
SERVICE = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].full_name
PREFIX = "losswire."

Attributes = dict[str, AttributeValue]


class Spans:
    """Makes a span of each call, and spans of its steps if it is sampled."""

    def __init__(self, version: str) -> None:
        self.tracer = trace.get_tracer(SCOPE, version, schema_url=conventions.SCHEMA_URL)
        self.seconds = metrics.get_meter(SCOPE, version, schema_url=conventions.SCHEMA_URL).create_histogram(
            conventions.SERVER_DURATION,
            unit="s",
            description=conventions.SERVER_DURATION_TEXT,
            explicit_bucket_boundaries_advisory=conventions.SECONDS,
        )

    def begin(self, method: str, context: Any, peer: str) -> "CallSpan":
        return CallSpan(self, f"{SERVICE}/{method}", dict(context.invocation_metadata() or ()), peer)


class CallSpan:
    """The span of one call, as part of the caller's trace if the caller sent a context that makes sense."""

    def __init__(self, spans: Spans, method: str, metadata: Mapping[str, str | bytes], peer: str) -> None:
        self._spans = spans
        self._about: Attributes = {conventions.SYSTEM_NAME: "grpc", conventions.METHOD: method}
        outer = propagate.extract(metadata)
        self._span = spans.tracer.start_span(method, outer, trace.SpanKind.SERVER, self._about)
        self._context = trace.set_span_in_context(self._span, outer)
        contexts.attach(self._context)  # and never detached: the call's task ends with the call
        self.recording = NOTHING
        if self._span.is_recording():
            self.recording = Recording(_sampled_trace_id(self._span.get_span_context()))
            self._span.set_attributes(_peer_attributes(peer))

    def end(
        self,
        code: grpc.StatusCode,
        seconds: float,
        received_bytes: int = 0,
        sent_bytes: int = 0,
        error: Exception | None = None,
    ) -> None:
        outcome: Attributes = {conventions.STATUS_CODE: code.name}
        if code in conventions.ERRORS:
            outcome[conventions.ERROR_TYPE] = code.name
        self._spans.seconds.record(seconds, self._about | outcome, self._context)
        if self._span.is_recording():
            self.recording.close()
            self.close()
            bytes_: Attributes = {f"{PREFIX}received_bytes": received_bytes, f"{PREFIX}sent_bytes": sent_bytes}
            self._span.set_attributes(outcome | bytes_ | _named(self.recording.facts()))
            self._tell_error(code, error)
        self._span.end()

    def _tell_error(self, code: grpc.StatusCode, error: Exception | None) -> None:
        """Names the reason that the caller is told too. The text of a caller's fault may have the caller's numbers."""
        status = to_rpc_status(error) if error else None
        if status and (reason := _reason(status.details)):
            self._span.set_attribute(f"{PREFIX}reason", reason)
        if code in conventions.ERRORS:
            self._span.set_status(trace.StatusCode.ERROR, status.message if status else None)

    def close(self) -> None:
        if self.recording is not NOTHING:
            parent = trace.set_span_in_context(self._span)
            for step in self.recording.take():
                self._tell(step, parent)

    def _tell(self, step: Step, parent: contexts.Context) -> None:
        offset, about = self.recording.offset_ns, _named(step.facts)
        start, end = offset + int(step.start * 1e9), offset + int(step.end * 1e9)
        self._spans.tracer.start_span(step.name, parent, attributes=about, start_time=start).end(end)


def _sampled_trace_id(context: trace.SpanContext) -> str:
    return trace.format_trace_id(context.trace_id) if context.trace_flags.sampled else ""


def _named(facts: Mapping[str, AttributeValue]) -> Attributes:
    return {f"{PREFIX}{name}": fact for name, fact in facts.items()}


def _reason(details: Any) -> str:
    info = error_details_pb2.ErrorInfo()
    return info.reason if any(detail.Unpack(info) for detail in details) else ""


def _peer_attributes(peer: str) -> Attributes:
    """The caller's address, which gRPC gives as in ``ipv4:127.0.0.1:50051`` or ``ipv6:%5B::1%5D:50051``."""
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return {conventions.PEER_ADDRESS: rest or kind}
    address, _, port = rest.rpartition(":")
    told: Attributes = {conventions.PEER_ADDRESS: address.strip("[]")}
    return told | ({conventions.PEER_PORT: int(port)} if port.isdecimal() else {})
