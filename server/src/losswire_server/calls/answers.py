"""The steps from the work of one message to its answer: on the event loop, or with the readers and the engine."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

import grpc

import ce_engine
from losswire_server.calls.evaluation import Evaluation, all_done, ended
from losswire_server.calls.work import Read, Work, is_short
from losswire_server.requests.ends import End, Evaluated
from losswire_server.requests.planned import Planned, Step
from losswire_server.tracing.recording import Recording

REFUSALS = (ce_engine.DeadlineExceededError, ce_engine.EngineClosedError)  # of the engine; they end the whole call

Timed = tuple[End, float]  # an end, and the seconds that it took


class Answer(NamedTuple):
    """The answer to one message, and how long it took.

    Attributes:
        data: The message that answers it.
        ends: How its requests ended, and the seconds that each end took.
        shared_seconds: Seconds for reading the message and writing its answer, which all requests share.
    """

    data: bytes
    ends: list[Timed]
    shared_seconds: float


class _Submitted(NamedTuple):
    """A slab that the engine has. It does not hold the slab.

    Attributes:
        failed: See `Planned`.
        future: Of what comes of it.
    """

    failed: "Callable[[Exception], Iterable[Step]]"
    future: "Future[Timed]"


class Begun(NamedTuple):
    """Work whose slabs are in the engine."""

    work: Work
    steps: "list[_Submitted | Timed]"
    seconds: float


class Done(NamedTuple):
    """Work whose requests have all ended.

    Attributes:
        work: Not answered yet.
        ends: See `Answer`.
        seconds: For reading the message.
    """

    work: Work
    ends: list[Timed]
    seconds: float

    def without(self, failed: Mapping[int, grpc.StatusCode]) -> "Done":
        """The same, whose requests of these numbers have failed after all."""
        return self._replace(ends=[timed for each in self.ends for timed in _without(*each, failed)])


def _without(end: End, seconds: float, failed: Mapping[int, grpc.StatusCode]) -> Iterator[Timed]:
    parts = list(end.without(failed)) if failed and isinstance(end, Evaluated) else [end]
    count = sum(map(request_count, parts))
    return ((part, seconds * request_count(part) / count) for part in parts)


def evaluated_at_once(work: Work, start: float, recording: Recording) -> Done:
    """Evaluates all of it on the event loop, which began to read the message at `start`.

    Raises:
        TakesLongError: It takes too long for the event loop.
    """
    read = last = time.perf_counter()
    timed = []
    for end in work.at_once():
        now = time.perf_counter()
        timed.append((end, now - last))
        last = now
    recording.add("read", start, read)
    recording.add("launch", read, last)
    return Done(work, timed, read - start)


def answered_at_once(done: Done, recording: Recording) -> Answer:
    """Writes the answer on the event loop."""
    start = time.perf_counter()
    data = done.work.answer()
    over = time.perf_counter()
    recording.add("reply", start, over)
    return Answer(data, done.ends, done.seconds + over - start)


def read_and_begin(data: bytes, read: Read, evaluation: Evaluation) -> Begun:
    """As `begin`, with reading the message."""
    start = time.perf_counter()
    return begin(read(data), start, evaluation)


def begin(work: Work, start: float, evaluation: Evaluation) -> Begun:
    """Plans work whose message was read from `start` on, and submits its slabs to the engine.

    Raises:
        OverloadedError: Too much is in flight, or waits for the engine.
        EngineClosedError: The server stops.
        Exception: What planning raises.
    """
    seconds = time.perf_counter() - start
    begun = Begun(work, _submit(work.plan(evaluation.reserve), evaluation), seconds)
    evaluation.recording.add("read", start, time.perf_counter())
    return begun


def _submit(steps: Iterable[Step], evaluation: Evaluation) -> "list[_Submitted | Timed]":
    """Submits each slab as soon as it is planned."""
    submitted: list[_Submitted | Timed] = []
    last = time.perf_counter()
    for step in steps:
        seconds = time.perf_counter() - last
        if isinstance(step, Planned):
            submitted.append(_Submitted(step.failed, evaluation.submit(step.slab, partial(_end, step.end, seconds))))
        else:
            submitted.append((step, seconds))
        last = time.perf_counter()
    return submitted


def _end(end: Callable[[Any], End], planning_seconds: float, result: Any, seconds: float) -> Timed:
    """Writes the answers where the slab was evaluated, and tells how long all of it took."""
    start = time.perf_counter()
    ended = end(result)
    return ended, planning_seconds + seconds + time.perf_counter() - start


async def evaluated(begun: Begun, evaluation: Evaluation) -> Done:
    """Waits for the slabs.

    Raises:
        DeadlineExceededError: The caller's deadline passed before its turn.
        EngineClosedError: The server stops.
    """
    return Done(begun.work, await _ended(begun.steps, evaluation), begun.seconds)


async def answered(done: Done, evaluation: Evaluation) -> Answer:
    """Writes the answer: here, or in a reader's thread.

    Raises:
        DeadlineExceededError: The caller's deadline passed before its turn.
        EngineClosedError: The server stops.
    """
    if is_short(done.work.writing_seconds):
        return answered_at_once(done, evaluation.recording)
    start = time.perf_counter()
    data = await evaluation.read(done.work.answer)
    over = time.perf_counter()
    evaluation.recording.add("reply", start, over)
    return Answer(data, done.ends, done.seconds + over - start)


async def _ended(steps: "Iterable[_Submitted | Timed]", evaluation: Evaluation) -> list[Timed]:
    await all_done(step.future for step in steps if isinstance(step, _Submitted))
    ends: list[Timed] = []
    for step in steps:
        if not isinstance(step, _Submitted):
            ends.append(step)
            continue
        try:
            ends.append(ended(step.future))
        except REFUSALS:
            raise
        except Exception as error:  # noqa: BLE001 - of an evaluation
            others = partial(_submit_others, step.failed, error, evaluation)
            ends += await _ended(await evaluation.read(others), evaluation)
    return ends


def _submit_others(
    failed: Callable[[Exception], Iterable[Step]], error: Exception, evaluation: Evaluation
) -> "list[_Submitted | Timed]":
    return _submit(failed(error), evaluation)


def request_count(end: End) -> int:
    """How many requests ended so."""
    return len(end.responses) if isinstance(end, Evaluated) else 1
