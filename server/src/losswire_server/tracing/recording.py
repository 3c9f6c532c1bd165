"""What happens to one call, step by step, as a trace tells it. Knows nothing of OpenTelemetry."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from losswire.v1 import EvaluateResponse

T = TypeVar("T")
Fact = str | int | float | bool

MOST_STEPS = 8  # of one name: each is a span, and a stream may have a hundred thousand slabs
MOST_NAMES = 8  # of different series in a pack
MOST_CHARACTERS = 100  # of a caller's text


@dataclass(eq=False, slots=True)
class Step:
    """A step of a call. Times are by ``time.perf_counter``, as those of all parts of the service.

    Attributes:
        name: What was done.
        start: When it began, in seconds.
        end: When it was over.
        facts: More about it.
    """

    name: str
    start: float
    end: float
    facts: dict[str, Fact]


@dataclass(slots=True)
class _Total:
    count: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class _Evaluated:
    losses: dict[str, None] = field(default_factory=dict)
    series: dict[str, None] = field(default_factory=dict)
    requests: int = 0
    rows: int = 0
    classes: int = 0


class Recording:
    """Notes the steps of one call. May be used from any thread.

    Args:
        trace_id: Of the call's trace, if that is sampled: then it will be found.

    Attributes:
        trace_id: As given.
        offset_ns: What turns nanoseconds of ``time.perf_counter`` into those of ``time.time``.
        steps: The first `MOST_STEPS` of each name that were not yet taken.
    """

    def __init__(self, trace_id: str = "") -> None:
        self.trace_id = trace_id
        self.offset_ns = time.time_ns() - time.perf_counter_ns()
        self.steps: list[Step] = []
        self._totals: dict[str, _Total] = {}
        self._waiting: dict[Step, bool] = {}  # of slabs whose results are not there yet
        self._evaluated = _Evaluated()
        self._lock = threading.Lock()

    def add(self, name: str, start: float, end: float, **facts: Fact) -> None:
        """Notes a step that is over."""
        self._add(Step(name, start, end, facts))

    def launching(self, rows: int, then: Callable[[Any, float], T]) -> Callable[[Any, float], T]:
        """Notes that a slab waits for its launch. What is returned replaces `then`, and notes how that went on."""
        waiting = Step("queue", time.perf_counter(), 0.0, {"rows": rows})
        self._waiting[waiting] = True

        def note(result: Any, seconds: float) -> T:
            now = time.perf_counter()
            if self._waiting.pop(waiting, False):  # else the call has ended
                waiting.end = now - seconds
                self._add(waiting)
                self.add("launch", waiting.end, now, rows=rows)
            return then(result, seconds)

        return note

    def evaluated(self, loss: str, series: str, responses: Sequence[EvaluateResponse], classes: int) -> None:
        """Notes requests that were evaluated."""
        told = self._evaluated
        told.losses[loss] = None
        if series and len(told.series) < MOST_NAMES:
            told.series[series[:MOST_CHARACTERS]] = None
        told.requests += len(responses)
        told.rows += sum(response.row_count for response in responses)
        told.classes = max(told.classes, classes)

    def close(self) -> None:
        """Notes, at the end of the call, which slabs were never evaluated."""
        now = time.perf_counter()
        for step in list(self._waiting):
            step.end = now
            step.facts["unfinished"] = True
            self._add(step)
        self._waiting.clear()

    def take(self) -> list[Step]:
        """The steps since this was last called."""
        with self._lock:
            taken, self.steps = self.steps, []
        return taken

    def facts(self) -> dict[str, Fact]:
        """What was evaluated, and the totals of steps of which there were too many."""
        told, facts = self._evaluated, dict[str, Fact]()
        if told.requests:
            facts |= {"loss": ",".join(told.losses), "requests": told.requests, "rows": told.rows}
            facts |= {"classes": told.classes} if told.classes else {}
            facts |= {"series": ",".join(told.series)} if told.series else {}
        for name, total in self._totals.items():
            if total.count > MOST_STEPS:
                facts |= {f"{name}.count": total.count, f"{name}.seconds": total.seconds}
        return facts

    def _add(self, step: Step) -> None:
        with self._lock:
            total = self._totals.setdefault(step.name, _Total())
            total.count += 1
            total.seconds += step.end - step.start
            if total.count <= MOST_STEPS:
                self.steps.append(step)


class _Nothing(Recording):
    """Notes nothing: the call is not traced."""

    def add(self, name: str, start: float, end: float, **facts: Fact) -> None: ...

    def launching(self, rows: int, then: Callable[[Any, float], T]) -> Callable[[Any, float], T]:  # noqa: ARG002
        return then

    def evaluated(self, loss: str, series: str, responses: Sequence[EvaluateResponse], classes: int) -> None: ...


NOTHING: Recording = _Nothing()
