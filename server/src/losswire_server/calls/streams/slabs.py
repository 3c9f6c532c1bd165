"""Where the slabs of one stream are evaluated: on the event loop, or by the engine."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeVar

import ce_engine
from losswire_server.calls.desk import Desk
from losswire_server.calls.evaluation import Evaluation
from losswire_server.requests import cost
from losswire_server.requests.slabs.stream_request import Part, PartEnd

T = TypeVar("T")

TRIALS = 3  # slabs that show how long the others take: the first one may find cold caches
DEAREST = 12  # times as long as most forms take those for which slabs are estimated
HANDING_OVER = 2  # times as dear as for other work: the next message, its slab and its results wait for each other


class Landed(NamedTuple):
    """What came of a slab.

    Attributes:
        end: With its results.
        seconds: That it took, until its results were written.
        computing: Seconds of this in which it was evaluated.
    """

    end: PartEnd
    seconds: float
    computing: float


class Slabs:
    """Evaluates the slabs of one stream, and learns from each how long the next ones take."""

    def __init__(self, desk: Desk, evaluation: Evaluation) -> None:
        self._desk = desk
        self._evaluation = evaluation
        self._landed = 0
        self._pace = math.inf  # seconds that a byte of a slab computes at least

    def is_for_here(self, part: Part, message_bytes: int, *, is_alone: bool) -> bool:
        """Whether a slab is evaluated on the event loop. It probably computes as long for its size as the fastest did.

        The first ones are tried here, if nothing else of the stream is in flight and most forms of such a size are
        short. Writing the results does not count: it holds the interpreter's lock in any thread.
        """
        seconds = cost.seconds(1, 1, cost.elements_of_slab(part.slab))
        is_trial = is_alone and self._landed < TRIALS
        probable = seconds / DEAREST if is_trial else min(self._pace * message_bytes, seconds)
        return self._desk.is_for_here(probable / HANDING_OVER)

    def evaluate(self, part: Part) -> Landed:
        """Evaluates a slab here. While another process has the core, it does not compute."""
        start, start_computing = time.perf_counter(), time.thread_time()
        result: Any = ce_engine.evaluate(part.slab)  # `RowResults`, as of all slabs of a stream
        computing = time.thread_time() - start_computing
        end, over = part.end(result), time.perf_counter()
        self._evaluation.recording.add("launch", start, over, rows=part.slab.row_count)
        return Landed(end, over - start, computing)

    def submit(self, part: Part) -> "Future[Landed]":
        """Has the engine evaluate a slab.

        Raises:
            Exception: As `Evaluation.submit`.
        """
        return self._evaluation.submit(part.slab, partial(_land, part.end))

    def learn(self, landed: Landed, message_bytes: int) -> None:
        """Takes notice of what came of a slab."""
        self._landed += 1
        self._pace = min(self._pace, landed.computing / message_bytes)


def _land(end: Callable[[Any], PartEnd], result: Any, seconds: float) -> Landed:
    return Landed(*written(end, result, seconds), seconds)


def written(write: Callable[[Any], T], result: Any, seconds: float) -> tuple[T, float]:
    """Writes results in the thread in which evaluating them took so many seconds; returns the seconds of both."""
    start = time.perf_counter()
    return write(result), seconds + time.perf_counter() - start
