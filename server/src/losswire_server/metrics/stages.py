"""How long the stages of calls take, from the steps that traces tell too."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry

from losswire.v1 import EvaluateResponse
from losswire_server.metrics.instruments import by_value, exemplar, histogram
from losswire_server.tracing.recording import Fact, Recording

T = TypeVar("T")

STAGES_OF_STEPS = {
    "admission": "admission",
    "receive": "receive",
    "read": "stage_in",
    "queue": "queue",
    "launch": "compute",
    "commit": "commit",
    "reply": "reply",
    "send": "reply",
}


class StageMetrics:
    """Observes the steps of calls. May be used from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        stages = by_value(histogram(registry, NAME), NAME)
        self._steps = {step: stages[stage] for step, stage in STAGES_OF_STEPS.items()}

    def observe(self, step: str, seconds: float, trace_id: str = "") -> None:
        """Observes a step of a call, which took so many seconds."""
        self._steps[step].observe(seconds, exemplar(trace_id))

    def recording(self, traced: Recording) -> Recording:
        """A recording of one call that observes its steps, and passes them on to its trace."""
        return _Observed(self, traced)


NAME = "losswire_stage_seconds"


class _Observed(Recording):
    """The recording of a call, with its stages observed. What a trace asks for is the other recording's.

    How long slabs wait is not observed here but told by the engine: it alone knows when a launch with others began.
    """

    def __init__(self, stages: StageMetrics, traced: Recording) -> None:
        self._stages = stages
        self._traced = traced
        self.trace_id = traced.trace_id

    def add(self, name: str, start: float, end: float, **facts: Fact) -> None:
        self._stages.observe(name, end - start, self.trace_id)
        self._traced.add(name, start, end, **facts)

    def launching(self, rows: int, then: Callable[[Any, float], T]) -> Callable[[Any, float], T]:
        then = self._traced.launching(rows, then)

        def observe(result: Any, seconds: float) -> T:
            self._stages.observe("launch", seconds, self.trace_id)
            return then(result, seconds)

        return observe

    def evaluated(self, loss: str, series: str, responses: Sequence[EvaluateResponse], classes: int) -> None:
        self._traced.evaluated(loss, series, responses, classes)
