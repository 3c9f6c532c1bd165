"""Calls that are due by a schedule, whether or not earlier calls were answered.

While a server stalls, a caller that waits for it sends nothing, and the calls that it leaves out would be missing from
the percentiles ("coordinated omission"). So latency is counted from when a call was due, not from when a caller was
free to make it.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, takewhile

import numpy as np

from losswire_client import OverloadedError
from losswire_client.cli.load._closed_loop import Evaluate, in_threads
from losswire_client.cli.load._measurement import Arrivals, Turn

LATE_SECONDS = 0.01  # a call that begins so much later than it was due counts as late, even if a caller was free
MIN_PATIENCE_SECONDS = 1.0


def schedule(arrivals: Arrivals, seconds: float, seed: int = 0) -> list[float]:
    """Seconds from the start at which calls are due. The first is due at once."""
    if arrivals.spacing == "constant":
        return list(takewhile(lambda due: due < seconds, (i / arrivals.rate for i in count())))
    return list(takewhile(lambda due: due < seconds, _poisson(arrivals.rate, seed)))


def run_open_turn(evaluate: Evaluate, concurrency: int, due: Sequence[float], seconds: float) -> Turn:
    """Makes each call when it is due, or as soon as one of so many callers is free.

    Calls that were due are still made after the turn's end, for as long again, or for a second if that is longer. Calls
    that are left then count as unsent.
    """
    start, cpu_start = time.perf_counter(), time.process_time()
    calls = _Calls(evaluate, due, start, give_up=start + seconds + max(seconds, MIN_PATIENCE_SECONDS))
    in_threads(min(concurrency, len(due)), calls.make)
    return Turn(
        latencies=calls.latencies,
        refused_count=calls.refused_count,
        seconds=max(seconds, time.perf_counter() - start),
        cpu_seconds=time.process_time() - cpu_start,
        waiting_count=calls.waiting_count,
        late_count=calls.late_count,
        unsent_count=calls.unsent_count,
    )


@dataclass
class _Calls:
    """The calls of one turn, which callers share."""

    evaluate: Evaluate
    due: Sequence[float]
    start: float
    give_up: float
    latencies: list[float] = field(default_factory=list)
    refused_count: int = 0
    waiting_count: int = 0
    late_count: int = 0
    unsent_count: int = 0

    def __post_init__(self) -> None:
        self._left = iter(self.due)
        self._lock = threading.Lock()

    def make(self) -> None:
        """Makes calls, one after the other, until none is left."""
        while (due := self._next()) is not None:
            self._begin(due)
            try:
                self.evaluate()
            except OverloadedError:
                with self._lock:
                    self.refused_count += 1
            else:
                with self._lock:
                    self.latencies.append(time.perf_counter() - due)

    def _next(self) -> float | None:
        with self._lock:
            due = next(self._left, None)
            if due is not None and time.perf_counter() >= self.give_up:
                self.unsent_count += 1 + sum(1 for _ in self._left)
                due = None
        return None if due is None else self.start + due

    def _begin(self, due: float) -> None:
        """Waits until a call is due, and counts calls that are late."""
        early = due - time.perf_counter()
        if early > 0:
            time.sleep(early)
        late = time.perf_counter() - due > LATE_SECONDS
        with self._lock:
            self.late_count += late and early > 0
            self.waiting_count += late and early <= 0


def _poisson(rate: float, seed: int) -> Iterator[float]:
    rng, due = np.random.default_rng(seed), 0.0
    while True:
        yield due
        due += rng.exponential(1 / rate)
