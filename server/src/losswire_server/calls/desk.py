"""The desk admits, dispatches, times, counts and answers every evaluation, whatever the RPC.

Large messages are read and planned by reader threads, small ones on the event loop. What they ask for is evaluated by
the engine, in whose threads the answers are written too. On a CPU, short work is done on the event loop where it
arrives, even while large slabs wait for the engine: handing it over takes half as long as the work itself, and behind
large slabs it would be late.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from typing import Any, NamedTuple, Protocol

import grpc

import ce_engine
from losswire_server.calls.evaluation import Caller, Evaluation, Workplace, all_done, ended
from losswire_server.metrics.calls import PackMetrics
from losswire_server.metrics.losses import LossMetrics
from losswire_server.requests.ends import End, Evaluated
from losswire_server.requests.needed import Reserve
from losswire_server.requests.planned import Planned, Step
from losswire_server.tracing.recording import NOTHING, Recording

AT_ONCE_SECONDS = 0.0005  # shorter work is done on the event loop: handing it to a thread takes half as long
READ_AT_ONCE_BYTES = 2**17  # larger messages are not even read on the event loop
REFUSALS = (ce_engine.DeadlineExceededError, ce_engine.EngineClosedError)  # of the engine; they end the whole call


class TakesLongError(Exception):
    """Work on the event loop turned out to take long. It is done again elsewhere."""


class Work(Protocol):
    """The work that one message asks for, read and not yet planned."""

    @property
    def seconds(self) -> float:
        """Seconds that all of it probably takes."""

    @property
    def planning_seconds(self) -> float:
        """Seconds that `plan` probably takes."""

    @property
    def writing_seconds(self) -> float:
        """Seconds that `answer` probably takes."""

    def at_once(self) -> Iterator[End]:
        """Evaluates it on the event loop, and gives one end after the other.

        Raises:
            TakesLongError: It takes too long for the event loop.
        """

    def plan(self, reserve: Reserve) -> Iterator[Step]:
        """Plans it, once: gives slabs for the engine, and the ends of requests that are wrong.

        Args:
            reserve: Holds what requests take, before anything is allocated for them.
        """

    def answer(self) -> bytes:
        """The message that answers it, once all its requests have ended."""


Read = Callable[[bytes], Work]


class Desk:
    """Takes the evaluations of all calls. Use it in the event loop."""

    def __init__(self, workplace: Workplace, losses: LossMetrics, packs: PackMetrics) -> None:
        self._workplace = workplace
        self._losses = losses
        self._packs = packs
        self._on_cpu = workplace.engine.device.type == "cpu"

    def evaluation(self, caller: Caller) -> Evaluation:
        """A new evaluation, for a call of many messages. Close it at the end."""
        return Evaluation(self._workplace, caller)

    def is_for_here(self, seconds: float) -> bool:
        """Whether an evaluation that probably takes so many seconds is done on the event loop."""
        return self._on_cpu and is_short(seconds)

    def count(self, evaluated: Evaluated, seconds: float, recording: Recording = NOTHING) -> None:
        """Counts requests that took so many seconds together."""
        loss, series, responses, classes = evaluated
        self._losses.count(loss, series, responses, seconds)
        recording.evaluated(loss, series, responses, classes)

    async def answer(self, data: bytes, read: Read, caller: Caller) -> bytes:
        """Answers the message of one request. If the caller leaves before its turn, no work is done for it.

        Args:
            data: The message.
            read: Turns the message into work.
            caller: Who sent it.

        Raises:
            OverloadedError: Too much is in flight, or waits for the engine.
            TooLargeError: The message would not fit even if nothing else were in flight.
            DeadlineExceededError: The caller's deadline passed before its turn.
            Exception: What `read` or its work raises.
        """
        return (await self._answered(data, read, caller)).data

    async def answer_pack(self, data: bytes, read: Read, caller: Caller) -> bytes:
        """Answers the message of many requests, and counts how each of them ends.

        Raises:
            Exception: As `answer`.
        """
        answer = await self._answered(data, read, caller)
        for end, _ in answer.ends:
            self._packs.count(end if isinstance(end, grpc.StatusCode) else grpc.StatusCode.OK, _request_count(end))
        return answer.data

    async def _answered(self, data: bytes, read: Read, caller: Caller) -> "_Answer":
        start = time.perf_counter()
        work = read(data) if len(data) <= READ_AT_ONCE_BYTES else None
        if work is not None and self.is_for_here(work.seconds):
            with suppress(TakesLongError):
                return self._counted(_evaluated_at_once(work, start, caller.recording), caller.recording)
            work = None
        with closing(self.evaluation(caller)) as evaluation:
            evaluation.held.resize(len(data))
            caller.recording.add("admission", start, time.perf_counter())
            if work is not None and is_short(work.planning_seconds):
                begun = _begin(work, start, evaluation)
            else:
                begun = await evaluation.read(partial(_read_and_begin, data, read, evaluation))
            return self._counted(await _answer(begun, evaluation), caller.recording)

    def _counted(self, answer: "_Answer", recording: Recording) -> "_Answer":
        share = answer.shared_seconds / sum([_request_count(end) for end, _ in answer.ends])
        for end, seconds in answer.ends:
            if isinstance(end, Evaluated):
                self.count(end, seconds + share * len(end.responses), recording)
        return answer


Timed = tuple[End, float]  # an end, and the seconds that it took


class _Answer(NamedTuple):
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


class _Begun(NamedTuple):
    """Work whose slabs are in the engine."""

    work: Work
    steps: "list[_Submitted | Timed]"
    seconds: float


def is_short(seconds: float) -> bool:
    """Whether what probably takes so many seconds may be done on the event loop."""
    return seconds < AT_ONCE_SECONDS


def _evaluated_at_once(work: Work, start: float, recording: Recording) -> _Answer:
    read = last = time.perf_counter()
    shared, timed = last - start, []
    for end in work.at_once():
        now = time.perf_counter()
        timed.append((end, now - last))
        last = now
    data = work.answer()
    over = time.perf_counter()
    recording.add("read", start, read)
    recording.add("launch", read, last)
    recording.add("reply", last, over)
    return _Answer(data, timed, shared + over - last)


def _read_and_begin(data: bytes, read: Read, evaluation: Evaluation) -> _Begun:
    start = time.perf_counter()
    return _begin(read(data), start, evaluation)


def _begin(work: Work, start: float, evaluation: Evaluation) -> _Begun:
    seconds = time.perf_counter() - start
    begun = _Begun(work, _submit(work.plan(evaluation.reserve), evaluation), seconds)
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


async def _answer(begun: _Begun, evaluation: Evaluation) -> _Answer:
    work = begun.work
    ends = await _ended(begun.steps, evaluation)
    start = time.perf_counter()
    data = work.answer() if is_short(work.writing_seconds) else await evaluation.read(work.answer)
    over = time.perf_counter()
    evaluation.recording.add("reply", start, over)
    return _Answer(data, ends, begun.seconds + over - start)


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


def _request_count(end: End) -> int:
    return len(end.responses) if isinstance(end, Evaluated) else 1
