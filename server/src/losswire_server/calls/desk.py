"""The one place where evaluations are admitted, dispatched, timed, counted and answered, whatever the RPC."""

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

AT_ONCE_SECONDS = (
    0.0015  # work that probably takes less is done on the event loop, since handing it over takes time too
)
READ_AT_ONCE_BYTES = 2**17  # a message that is larger is not even read there
UNKNOWN_SECONDS = math.inf


class TakesLongError(Exception):
    """Work that was to be done at once turned out to take long. It is done again, beside the event loop."""


class Work(Protocol):
    """What one message asks for, read and not yet evaluated."""

    @property
    def seconds(self) -> float:
        """That evaluating it probably takes."""

    def at_once(self) -> Iterator[End]:
        """Evaluates it on the event loop, and gives one end after the other.

        Raises:
            TakesLongError: This is not the place for it.
        """

    def evaluate(self) -> Iterator[End]:
        """Evaluates it, and gives one end after the other."""

    def answer(self) -> bytes:
        """The message that answers it, once it is evaluated."""


Read = Callable[[bytes], Work]


class Desk:
    """Takes the evaluations of all calls. To be used in the event loop."""

    def __init__(self, admission: Admission, executor: Executor, losses: LossMetrics, packs: PackMetrics) -> None:
        self._admission = admission
        self._executor = executor
        self._losses = losses
        self._packs = packs

    def evaluation(self) -> "Evaluation":
        """A new one, for calls of many messages; to be closed."""
        return Evaluation(self._admission, self._executor, self._losses)

    async def answer(self, data: bytes, read: Read) -> bytes:
        """Answers the message of one request. A caller that leaves before its turn costs no more.

        Args:
            data: The message.
            read: Makes work of it.

        Raises:
            OverloadedError: Too much is in flight.
            TooLargeError: The message would not fit if nothing else were.
            Exception: What `read` or its work raises.
        """
        return (await self._answered(data, read)).data

    async def answer_pack(self, data: bytes, read: Read) -> bytes:
        """Answers the message of many requests, and counts how each of them ends.

        Raises:
            Exception: As `answer`.
        """
        answer = await self._answered(data, read)
        for part in answer.parts:
            self._packs.count(*_code_and_count(part.end))
        return answer.data

    async def _answered(self, data: bytes, read: Read) -> "_Answer":
        with closing(self.evaluation()) as evaluation:
            answer = None
            if len(data) <= READ_AT_ONCE_BYTES:
                answer = evaluation.do_here(partial(_answer_at_once, data, read))
            if answer is None:
                evaluation.held.resize(len(data))
                answer = await evaluation.do(partial(_answer, data, read), UNKNOWN_SECONDS)
            self._count(answer.parts, evaluation.seconds)
            return answer

    def _count(self, parts: "list[_Part]", seconds: float) -> None:
        """Counts what was evaluated. All requests share equally what was no part's own: the two messages' time."""
        requests = sum(_code_and_count(part.end)[1] for part in parts)
        share = (seconds - sum(part.seconds for part in parts)) / requests
        for part in parts:
            if isinstance(part.end, Evaluated):
                self._losses.count_alike(*part.end, part.seconds + share * len(part.end.responses))


class Evaluation:
    """One evaluation at the desk, whose work is done one piece after the other.

    Attributes:
        held: The bytes that are in flight for it.
        seconds: That its work took so far, without waiting.
    """

    def __init__(self, admission: Admission, executor: Executor, losses: LossMetrics) -> None:
        self.held = admission.reservation()
        self.seconds = 0.0
        self._executor = executor
        self._losses = losses
        self._work: Future[Any] | None = None

    async def do(self, work: Callable[[], T], seconds: float) -> T:
        """Does a piece of work: at once if it probably takes no longer than that is worth, or else beside.

        Args:
            work: One call of it does all.
            seconds: That it probably takes.
        """
        if _is_for_here(seconds):
            return self.do_here(work)
        self._work = future = self._executor.submit(self.do_here, work)
        return await asyncio.wrap_future(future)

    def do_here(self, work: Callable[[], T]) -> T:
        """Does a piece of work in this thread."""
        start = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds += time.perf_counter() - start

    def count(self, request: v1.EvaluateRequest, response: v1.EvaluateResponse) -> None:
        """Counts what came of all the work."""
        self._losses.count(request, response, self.seconds)

    def close(self) -> None:
        """Holds nothing any more. If the caller leaves, memory is in use until the executor is done with it."""
        work, held = self._work, self.held
        self._work = None  # whose error knows its frames, and these know this evaluation
        if work is None:
            held.close()
        else:
            work.add_done_callback(lambda _: held.close())


class _Part(NamedTuple):
    end: End
    seconds: float


class _Answer(NamedTuple):
    data: bytes
    parts: list[_Part]


def _is_for_here(seconds: float) -> bool:
    """The one rule of what is done on the event loop."""
    return seconds < AT_ONCE_SECONDS


def _answer_at_once(data: bytes, read: Read) -> _Answer | None:
    """None if that is for the executor, where the message is read again: it waits as the bytes that are counted."""
    work = read(data)
    if not _is_for_here(work.seconds):
        return None
    try:
        parts = _timed(work.at_once())
    except TakesLongError:
        return None
    return _Answer(work.answer(), parts)


def _answer(data: bytes, read: Read) -> _Answer:
    work = read(data)
    parts = _timed(work.evaluate())
    return _Answer(work.answer(), parts)


def _timed(ends: Iterator[End]) -> list[_Part]:
    parts, start = [], time.perf_counter()
    for end in ends:
        now = time.perf_counter()
        parts.append(_Part(end, now - start))
        start = now
    return parts


def _code_and_count(end: End) -> tuple[grpc.StatusCode, int]:
    return (grpc.StatusCode.OK, len(end.responses)) if isinstance(end, Evaluated) else (end, 1)
