"""The desk admits, dispatches, times, counts and answers every evaluation, whatever the RPC."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import grpc

from losswire import v1
from losswire_server.calls.admission import Admission
from losswire_server.metrics.calls import PackMetrics
from losswire_server.metrics.losses import LossMetrics
from losswire_server.requests.ends import End, Evaluated

T = TypeVar("T")

AT_ONCE_SECONDS = 0.0005  # shorter work is done on the event loop: handing it to a thread takes half as long
READ_AT_ONCE_BYTES = 2**17  # larger messages are not even read on the event loop
UNKNOWN_SECONDS = math.inf


class TakesLongError(Exception):
    """Work on the event loop turned out to take long. It is done again in the executor."""


class Work(Protocol):
    """The work that one message asks for, read and not yet evaluated."""

    @property
    def seconds(self) -> float:
        """Seconds that evaluating it probably takes."""

    def at_once(self) -> Iterator[End]:
        """Evaluates it on the event loop, and gives one end after the other.

        Raises:
            TakesLongError: It takes too long for the event loop.
        """

    def evaluate(self) -> Iterator[End]:
        """Evaluates it, and gives one end after the other."""

    def answer(self) -> bytes:
        """The message that answers it, once it is evaluated."""


Read = Callable[[bytes], Work]


class Desk:
    """Takes the evaluations of all calls. Use it in the event loop."""

    def __init__(self, admission: Admission, executor: Executor, losses: LossMetrics, packs: PackMetrics) -> None:
        self._admission = admission
        self._executor = executor
        self._losses = losses
        self._packs = packs

    def evaluation(self) -> "Evaluation":
        """A new evaluation, for a call of many messages. Close it at the end."""
        return Evaluation(self._admission, self._executor, self._losses)

    async def answer(self, data: bytes, read: Read) -> bytes:
        """Answers the message of one request. If the caller leaves before its turn, no work is done for it.

        Args:
            data: The message.
            read: Turns the message into work.

        Raises:
            OverloadedError: Too much is in flight.
            TooLargeError: The message would not fit even if nothing else were in flight.
            Exception: What `read` or its work raises.
        """
        return (await self._answered(data, read)).data

    async def answer_pack(self, data: bytes, read: Read) -> bytes:
        """Answers the message of many requests, and counts how each of them ends.

        Raises:
            Exception: As `answer`.
        """
        answer = await self._answered(data, read)
        for end, _ in answer.ends:
            self._packs.count(end if isinstance(end, grpc.StatusCode) else grpc.StatusCode.OK, _request_count(end))
        return answer.data

    async def _answered(self, data: bytes, read: Read) -> "_Answer":
        answer = _answer_at_once(data, read) if len(data) <= READ_AT_ONCE_BYTES else None
        if answer is None:
            answer = await self._answer_beside(data, read)
        self._count(answer)
        return answer

    async def _answer_beside(self, data: bytes, read: Read) -> "_Answer":
        with closing(self.evaluation()) as evaluation:
            evaluation.held.resize(len(data))
            return await evaluation.do(partial(_answer, data, read), UNKNOWN_SECONDS)

    def _count(self, answer: "_Answer") -> None:
        share = answer.shared_seconds / sum([_request_count(end) for end, _ in answer.ends])
        for end, seconds in answer.ends:
            if isinstance(end, Evaluated):
                self._losses.count_alike(end.request, end.responses, seconds + share * len(end.responses))


class Evaluation:
    """One evaluation at the desk, whose work is done one piece after the other.

    Attributes:
        held: The bytes that are in flight for it.
        seconds: How long its work took so far, without waiting.
    """

    def __init__(self, admission: Admission, executor: Executor, losses: LossMetrics) -> None:
        self.held = admission.reservation()
        self.seconds = 0.0
        self._executor = executor
        self._losses = losses
        self._work: Future[Any] | None = None

    async def do(self, work: Callable[[], T], seconds: float) -> T:
        """Does a piece of work: on the event loop if it is probably short, or else in the executor.

        Args:
            work: The work; it is called once.
            seconds: How long it probably takes.
        """
        if _is_for_here(seconds):
            return self._timed(work)
        self._work = future = self._executor.submit(self._timed, work)
        return await asyncio.wrap_future(future)

    def _timed(self, work: Callable[[], T]) -> T:
        """Does a piece of work in this thread, and adds its time to `seconds`."""
        start = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds += time.perf_counter() - start

    def count(self, request: v1.EvaluateRequest, response: v1.EvaluateResponse) -> None:
        """Counts the evaluation, once all work is done."""
        self._losses.count(request, response, self.seconds)

    def close(self) -> None:
        """Releases the bytes. If the caller left, they stay in use until the executor has finished its work."""
        work, held = self._work, self.held
        self._work = None  # its error holds its frames, and they hold this evaluation
        if work is None:
            held.close()
        else:
            work.add_done_callback(lambda _: held.close())


class _Answer(NamedTuple):
    """The answer to one message, and how long it took.

    Attributes:
        data: The message that answers it.
        ends: How its requests ended, and the seconds that each end took.
        shared_seconds: Seconds for reading the message and writing its answer, which all requests share.
    """

    data: bytes
    ends: list[tuple[End, float]]
    shared_seconds: float


def _is_for_here(seconds: float) -> bool:
    """Whether work of so many seconds is done on the event loop."""
    return seconds < AT_ONCE_SECONDS


def _answer_at_once(data: bytes, read: Read) -> _Answer | None:
    """The answer, or None if the work is for the executor.

    The executor reads the message again, so that only its bytes wait there: these are counted.
    """
    start = time.perf_counter()
    work = read(data)
    if not _is_for_here(work.seconds):
        return None
    try:
        return _evaluated(work, work.at_once(), start)
    except TakesLongError:
        return None


def _answer(data: bytes, read: Read) -> _Answer:
    start = time.perf_counter()
    work = read(data)
    return _evaluated(work, work.evaluate(), start)


def _evaluated(work: Work, ends: Iterator[End], start: float) -> _Answer:
    last = time.perf_counter()
    shared, timed = last - start, []
    for end in ends:
        now = time.perf_counter()
        timed.append((end, now - last))
        last = now
    data = work.answer()
    return _Answer(data, timed, shared + time.perf_counter() - last)


def _request_count(end: End) -> int:
    return len(end.responses) if isinstance(end, Evaluated) else 1
