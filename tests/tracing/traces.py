"""The spans and metrics of this process, for tests of tracing. Outside of such a test nothing is sampled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler

from tests.helpers import eventually


class _Switch(Sampler):
    """Samples as it is told now, since a process gets only one provider."""

    sampler: Sampler = ALWAYS_OFF

    def should_sample(self, *arguments: Any, **options: Any) -> Any:
        return self.sampler.should_sample(*arguments, **options)

    def get_description(self) -> str:
        return "switch"


SERVICE = "losswire.v1.LossService"

SWITCH, EXPORTER, READER = _Switch(), InMemorySpanExporter(), InMemoryMetricReader()


@cache
def _set_providers() -> None:
    provider = TracerProvider(sampler=ParentBased(SWITCH))
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([READER]))


class Trace:
    """One trace, from a root span of the test's on. Spans are ``ReadableSpan``, whose every attribute may be None."""

    def __init__(self, root: trace.Span) -> None:
        self.root = root

    @property
    def spans(self) -> list[Any]:
        """The spans of all traces that have ended, in the order of their starts."""
        return sorted(EXPORTER.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str, kind: trace.SpanKind | None = None) -> list[Any]:
        return [span for span in self.spans if span.name == name and kind in (None, span.kind)]

    def only(self, name: str, kind: trace.SpanKind | None = None) -> Any:
        """The one span of that name, which may be about to end."""
        eventually(lambda: bool(self.named(name, kind)))
        (span,) = self.named(name, kind)
        return span

    def below(self, parent: Any) -> list[str]:
        """The names of the children of a span, in the order of their starts."""
        return [span.name for span in self.spans if is_child(span, parent)]

    def check_below(self, parent: Any, *names: str) -> None:
        """Checks the children of a span, of which the last may still be going on."""
        eventually(lambda: len(self.below(parent)) >= len(names))
        assert self.below(parent) == list(names)


@contextmanager
def traced(sampler: Sampler = ALWAYS_ON) -> Iterator[Trace]:
    """A root span, and all that is traced meanwhile."""
    _set_providers()
    EXPORTER.clear()
    SWITCH.sampler = sampler
    try:
        with trace.get_tracer("tests").start_as_current_span("test", record_exception=False) as root:
            yield Trace(root)
    finally:
        SWITCH.sampler = ALWAYS_OFF
        EXPORTER.clear()


def is_child(span: Any, parent: Any) -> bool:
    return span.parent is not None and span.parent.span_id == parent.get_span_context().span_id


def measured(name: str, where: Callable[[Any], bool]) -> list[Any]:
    """The points of a histogram whose attributes are as wanted."""
    data = READER.get_metrics_data()
    found = [
        metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
    ]
    return [point for metric in found for point in metric.data.data_points if where(point.attributes)]


def check_way(found: Trace, method: str) -> tuple[Any, Any, Any]:
    """Checks the spans from the test's on to the server's, and returns them: of the SDK, of the call on either side."""
    operation = found.only("evaluate cross_entropy")
    kinds = trace.SpanKind.CLIENT, trace.SpanKind.SERVER
    sent, received = (found.only(f"{SERVICE}/{method}", kind) for kind in kinds)
    assert is_child(operation, found.root)
    assert is_child(sent, operation)
    assert is_child(received, sent)
    assert {span.context.trace_id for span in found.spans} == {found.root.get_span_context().trace_id}
    return operation, sent, received
