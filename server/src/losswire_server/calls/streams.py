"""One request in many messages: some slabs are evaluated while the next one comes and the last one's results leave."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.frames import REQUESTS, SlabFrame
from losswire.losses import loss_of
from losswire_server.calls.admission import RETRY_MILLISECONDS
from losswire_server.calls.desk import READ_AT_ONCE_BYTES, Desk, is_short
from losswire_server.calls.evaluation import Caller, all_done, ended
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.requests import cost
from losswire_server.requests.ends import Evaluated
from losswire_server.requests.one import Respond, plan_request
from losswire_server.requests.slabs.stream_header import StreamHeader, leaves_input_open
from losswire_server.requests.slabs.stream_request import Part, PartEnd, StreamRequest

T = TypeVar("T")
Landed = tuple[PartEnd, float]  # what came of a slab, and the seconds that it took

SLABS_IN_FLIGHT = 16
BYTES_IN_FLIGHT = 4 * 2**20  # of slabs that are evaluated or wait: a few of the usual size, for a few workers
MESSAGES_BESIDE = 2  # one arrives, and one with results is sent
LEAVING_SECONDS = 0.01  # in which grpcio reports that a caller left, after it reported the end of the messages


class Streams:
    def __init__(self, desk: Desk, max_message_bytes: int) -> None:
        self._desk = desk
        self._max_message_bytes = max_message_bytes

    async def __call__(self, messages: AsyncIterator[bytes], caller: Caller) -> AsyncIterator[bytes]:
        """Answers the messages of one stream. Takes a message only when results are read and evaluation keeps up.

        Raises:
            OverloadedError: Too much is in flight, or waits for the engine.
            TooLargeError: A row fits no message, or the call must hold more bytes than may be in flight.
            DeadlineExceededError: The caller's deadline passed before a slab's turn.
            DecodeError: A message does not follow the contract.
            FieldError: A field is wrong; see `StreamHeader` and `StreamRequest`.
            NotServedError: A field is right, but asks for what this server does not serve.
        """
        stream = _Stream(self._desk, caller, self._max_message_bytes)
        with closing(stream):
            async for answer in stream.answer(messages):
                yield answer


class _InFlight(NamedTuple):
    """A slab that the engine has, or had.

    Attributes:
        message_bytes: Size of its message.
        future: For what comes of it.
        landed: Is done when the future is.
    """

    message_bytes: int
    future: "Future[Landed]"
    landed: "asyncio.Future[None]"


class _Stream:
    """One stream, which resizes its reservation as it goes on. Close it at the end."""

    def __init__(self, desk: Desk, caller: Caller, max_message_bytes: int) -> None:
        self._desk = desk
        self._evaluation = desk.evaluation(caller)
        self._held = self._evaluation.held
        self._max_message_bytes = max_message_bytes
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._ended_for_others = False
        self._header = v1.EvaluateRequest()
        self._header_bytes = 0
        self._request: StreamRequest | None = None
        self._whole: tuple[ce_engine.Slab, Respond] | None = None  # if the header has all elements
        self._in_flight: deque[_InFlight] = deque()  # in row order
        self._bytes_in_flight = 0
        self._is_refused = False
        self._seconds = 0.0
        self._pace = math.inf  # seconds that a byte of a slab takes at least

    def close(self) -> None:
        self._in_flight.clear()
        self._evaluation.close()

    async def answer(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        first = await anext(messages, b"")
        if not first:
            await asyncio.sleep(LEAVING_SECONDS)
        self._header_bytes = len(first)
        self._held.resize(self._header_bytes)
        await self._do(partial(self._open, first), 0.0 if len(first) <= READ_AT_ONCE_BYTES else math.inf)
        del first
        async for reply in self._replies(messages):
            yield reply
        if self._request is not None and not self._request.is_complete:
            await asyncio.sleep(LEAVING_SECONDS)
        summary = await self._summary()
        answer = v1.EvaluateStreamResponse(summary=summary).SerializeToString()
        evaluated = Evaluated(loss_of(self._header.spec), self._header.series, [summary])
        self._desk.count(evaluated, self._seconds)  # before the caller gets it
        yield answer

    async def _replies(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The messages with results, in row order. Slabs are taken in while there is room, also for a later reply."""
        coming = _next(messages)
        try:
            while True:
                await self._wait(coming)
                message = coming.result() if coming.done() else None
                if message is not None and self._takes(message):
                    coming = _next(messages)
                    await self._take_in(message)
                elif self._in_flight:
                    reply = await self._take_out()
                    if reply:
                        yield reply
                    del reply
                else:
                    return
        finally:
            coming.cancel()

    async def _wait(self, coming: "asyncio.Future[bytes | None]") -> None:
        """Waits for the next message, or for the oldest slab in flight."""
        if not self._in_flight:
            await self._wait_for_caller(coming)
        elif not coming.done() and not self._in_flight[0].landed.done():
            either: set[asyncio.Future[Any]] = {coming, self._in_flight[0].landed}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    async def _wait_for_caller(self, coming: "asyncio.Future[bytes | None]") -> None:
        """Waits for the next message. Raises if others need the memory that this stream holds."""
        try:
            with self._held.silence(self._end_for_others):
                await coming
        except asyncio.CancelledError:
            if not self._ended_for_others:
                raise
            self._task.uncancel()
            problem = "this stream sent nothing for long, and other callers need the memory that it holds"
            raise OverloadedError(problem, RETRY_MILLISECONDS) from None

    def _end_for_others(self) -> None:
        self._ended_for_others = True
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def _takes(self, message: bytes) -> bool:
        """Whether a message is taken in now. Holds its bytes from then on.

        Raises:
            OverloadedError: There is no room for it, although nothing of this stream is in flight.
            TooLargeError: There never is.
        """
        if self._is_refused:
            return False
        if not self._in_flight:
            self._held.resize(self._needed_bytes(len(message)))
            return True
        if len(self._in_flight) >= SLABS_IN_FLIGHT or self._bytes_in_flight + len(message) > BYTES_IN_FLIGHT:
            return False
        try:
            self._held.resize(self._needed_bytes(len(message)))
        except (OverloadedError, TooLargeError):  # it fits later, when this stream holds less
            return False
        return True

    def _needed_bytes(self, message_bytes: int) -> int:
        request_bytes = 0 if self._request is None else self._request.held_bytes
        slabs_bytes = self._bytes_in_flight + (1 + MESSAGES_BESIDE) * message_bytes
        return max(self._header_bytes, request_bytes) + slabs_bytes

    async def _take_in(self, message: bytes) -> None:
        """Plans a message's slab, and puts it in flight. If it is refused, the error has its turn among the results."""
        try:
            part = await self._plan(message)
            future = None if part is None else self._submit(part, len(message))
        except Exception as error:  # noqa: BLE001 - raised in its turn
            future = Future()
            future.set_exception(error)
            self._is_refused = True
        if future is not None:
            self._in_flight.append(_InFlight(len(message), future, all_done([future])))
            self._bytes_in_flight += len(message)

    async def _plan(self, message: bytes) -> Part | None:
        frame = REQUESTS.read(message)
        if not isinstance(frame, SlabFrame):
            raise FieldError("header", "expected one header, got another")
        if self._request is None:
            raise FieldError("slab", "expected none, since the header has all elements of the input")
        return await self._do(partial(self._request.plan, frame), self._request.planning_seconds(frame))

    def _submit(self, part: Part, message_bytes: int) -> "Future[Landed]":
        """Has the slab evaluated. For its size it probably takes as long as the fastest one so far."""
        then = partial(_land, part.end)
        seconds = min(self._pace * message_bytes, cost.seconds(1, 1, part.slab.input.numel()))
        if not self._desk.is_for_here(seconds):
            return self._evaluation.submit(part.slab, then)
        start, future = time.perf_counter(), Future[Landed]()
        result = ce_engine.evaluate(part.slab)
        future.set_result(then(result, time.perf_counter() - start))
        return future

    async def _take_out(self) -> bytes | None:
        """The results of the oldest slab in flight."""
        await self._in_flight[0].landed
        message_bytes, future, _ = self._in_flight.popleft()
        self._bytes_in_flight -= message_bytes
        end, seconds = ended(future)
        self._seconds += seconds
        self._pace = min(self._pace, seconds / message_bytes)
        request = cast("StreamRequest", self._request)
        await self._do(partial(request.add, end), cost.adding_seconds(end.rows.row_count))
        self._held.resize(min(self._held.size, self._needed_bytes(message_bytes)))
        return end.reply

    def _open(self, message: bytes) -> None:
        header = REQUESTS.read(message) if message else None
        if not isinstance(header, v1.EvaluateRequest):
            raise FieldError("part", f"expected a header first, got {'a slab' if header else 'nothing'}")
        self._header = header
        if leaves_input_open(header):
            checked = StreamHeader.of(header)
            self._check_row(checked.row_bytes)
            self._held.check_fits(len(message) + checked.ahead_bytes)  # held as it comes, which may be never
            self._request = StreamRequest(checked)
        else:
            self._whole = plan_request(header)

    def _check_row(self, row_bytes: int) -> None:
        # So an array with one number a class, such as class counts, takes at most a few times the largest message.
        if row_bytes > self._max_message_bytes:
            raise TooLargeError(f"a row has {row_bytes} bytes, and a message at most {self._max_message_bytes}")

    async def _summary(self) -> v1.EvaluateResponse:
        if self._whole is None:
            return await self._do(cast("StreamRequest", self._request).summary, 0.0)
        slab, respond = self._whole
        future = self._evaluation.submit(slab, partial(_land, respond))
        await all_done([future])
        summary, seconds = ended(future)
        self._seconds += seconds
        return summary

    async def _do(self, work: Callable[[], T], seconds: float) -> T:
        """Does work that probably takes so long: here, or in a reader's thread."""
        timed = partial(_timed, work)
        value, took = timed() if is_short(seconds) else await self._evaluation.read(timed)
        self._seconds += took
        return value


def _next(messages: AsyncIterator[bytes]) -> "asyncio.Future[bytes | None]":
    """The next message, which is received in the meantime; None at the end."""
    return asyncio.ensure_future(anext(messages, None))


def _land(end: Callable[[Any], T], result: Any, seconds: float) -> tuple[T, float]:
    """Writes the reply where the slab was evaluated."""
    value, took = _timed(partial(end, result))
    return value, seconds + took


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start
