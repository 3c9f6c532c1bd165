"""Spans and a metric of calls, by OpenTelemetry's API. What becomes of them is up to the program."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import grpc
from opentelemetry import context as contexts
from opentelemetry import metrics, propagate, trace
from opentelemetry.util.types import AttributeValue

from losswire_client._errors import LosswireError, shortened
from losswire_client._tracing import conventions
from losswire_client._tracing.active import OPERATION, PREFIX, Fact, Metadata

SCOPE = "losswire_client"
LEFT = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)  # the caller did not wait for the answer

Attributes = dict[str, AttributeValue]

_OTHERS: ContextVar[Sequence[trace.Span]] = ContextVar("losswire_others", default=())  # whom the next call is for too


class Spans:
    """Makes a span of what a caller asks for, and one of each call that this takes."""

    def __init__(self) -> None:
        self._tracer = trace.get_tracer(SCOPE, schema_url=conventions.SCHEMA_URL)
        self._seconds = metrics.get_meter(SCOPE, schema_url=conventions.SCHEMA_URL).create_histogram(
            conventions.CLIENT_DURATION,
            unit="s",
            description=conventions.CLIENT_DURATION_TEXT,
            explicit_bucket_boundaries_advisory=conventions.SECONDS,
        )

    @contextmanager
    def operation(self, name: str, facts: Callable[[], Mapping[str, Fact]]) -> Iterator[None]:
        span = self._tracer.start_span(name)
        if span.is_recording():
            span.set_attributes({f"{PREFIX}{key}": fact for key, fact in facts().items()})
        token, before = contexts.attach(_within(span)), OPERATION.set(span)
        try:
            yield
        except BaseException as error:
            _tell_error(span, error)
            raise
        finally:
            OPERATION.reset(before)
            contexts.detach(token)
            span.end()

    @contextmanager
    def call(self, method: str, target: str, metadata: Metadata | None) -> Iterator[Metadata]:
        about: Attributes = {conventions.SYSTEM_NAME: "grpc", conventions.METHOD: method}
        about |= conventions.server_attributes(target)
        span, start = self._start(method, about), time.perf_counter()
        context, outcome = _within(span), _outcome(None)
        try:
            yield (*(metadata or ()), *_injected(context))
        except BaseException as error:
            outcome = _outcome(error)
            _tell_error(span, error)
            raise
        finally:
            self._seconds.record(time.perf_counter() - start, about | outcome, context)
            span.set_attributes(outcome)
            span.end()

    @contextmanager
    def together(self, callers: Sequence[contexts.Context | None]) -> Iterator[None]:
        """The next call belongs to the trace of the first caller that is sampled, and has links to those of others."""
        known = [caller for caller in callers if caller is not None]
        first = next((caller for caller in known if _span_of(caller).get_span_context().trace_flags.sampled), None)
        first = first or (known[0] if known else contexts.Context())
        token = contexts.attach(first)
        others = _OTHERS.set([_span_of(caller) for caller in known if caller is not first])
        try:
            yield
        finally:
            _OTHERS.reset(others)
            contexts.detach(token)

    def current(self) -> contexts.Context:
        return contexts.get_current()

    def _start(self, method: str, about: Attributes) -> trace.Span:
        others = [other for other in _OTHERS.get() if other.get_span_context().is_valid]
        links = [trace.Link(other.get_span_context()) for other in others]
        span = self._tracer.start_span(method, kind=trace.SpanKind.CLIENT, attributes=about, links=links)
        for other in others:
            if other.is_recording():
                other.add_link(span.get_span_context())
        return span


def _within(span: trace.Span) -> contexts.Context:
    """The context of what a span surrounds. Without an SDK old versions make no span of the caller's trace."""
    return trace.set_span_in_context(span) if span.get_span_context().is_valid else contexts.get_current()


def _span_of(caller: contexts.Context) -> trace.Span:
    return trace.get_current_span(caller)


def _injected(context: contexts.Context) -> Metadata:
    """The context as metadata, without what gRPC would refuse."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    return tuple((key.lower(), value) for key, value in carrier.items() if value.isascii() and value.isprintable())


def _outcome(error: BaseException | None) -> Attributes:
    if error is None:
        return {conventions.STATUS_CODE: grpc.StatusCode.OK.name}
    code = grpc.StatusCode.CANCELLED if isinstance(error, LEFT) else getattr(error, "code", None)
    if not isinstance(code, grpc.StatusCode):
        return {conventions.ERROR_TYPE: type(error).__name__}
    return {conventions.STATUS_CODE: code.name, conventions.ERROR_TYPE: code.name}


def _tell_error(span: trace.Span, error: BaseException) -> None:
    """Says what went wrong as the caller is told, unless it is no error of this package's."""
    span.set_attribute(conventions.ERROR_TYPE, type(error).__name__)
    span.set_status(trace.StatusCode.ERROR, shortened(str(error)) if isinstance(error, LosswireError) else None)
