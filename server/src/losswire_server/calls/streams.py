"""One request in many messages: some slabs are evaluated while the next one comes and the last one's results leave.

A slab that is evaluated on the event loop while nothing of its stream is in flight is answered at once. Other slabs are
in flight until their results have their turn.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import Any, TypeVar, cast

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.frames import REQUESTS, SlabFrame
from losswire.losses import loss_of
from losswire_server.calls.desk import Desk
from losswire_server.calls.evaluation import Caller, all_done, ended
from losswire_server.calls.in_flight import InFlight
from losswire_server.calls.incoming import Incoming
from losswire_server.calls.slabs import Landed, Slabs, written
from losswire_server.calls.turns import MESSAGE_SECONDS, OwnTurns, Turns
from losswire_server.calls.work import READ_AT_ONCE_BYTES, is_short
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.requests import cost
from losswire_server.requests.ends import Evaluated
from losswire_server.requests.one import Respond, plan_request
from losswire_server.requests.slabs.stream_header import StreamHeader, leaves_input_open
from losswire_server.requests.slabs.stream_request import Part, StreamRequest

T = TypeVar("T")

ARRIVING = 1  # message beside those that were taken in
RESULT_COPIES = 2  # of a slab: tensors, and the message that they are copied to
ROOM_SECONDS = 10.0  # that a stream waits for others to make room: to begin again would cost all of them more
LOOK_FOR_ROOM_SECONDS = 0.01
PATIENT_BYTES = 2**16  # held by a stream that may wait
LEAVING_SECONDS = 0.01  # in which grpcio reports that a caller left, after it reported the end of the messages


class Streams:
    def __init__(self, desk: Desk, max_message_bytes: int, turns: Turns) -> None:
        self._desk = desk
        self._max_message_bytes = max_message_bytes
        self._turns = turns

    async def __call__(self, messages: AsyncIterator[bytes], caller: Caller) -> AsyncIterator[bytes]:
        """Answers the messages of one stream. Takes a message only when results are read and evaluation keeps up.

        Raises:
            OverloadedError: Too much is in flight, or waits for the engine.
            TooLargeError: A row fits no message, or the call must hold more bytes than may be in flight.
            DeadlineExceededError: The caller's deadline passed before a slab's turn.
            DecodeError: A message does not follow the contract.
            FieldError: A field is wrong; see `StreamHeader` and `StreamRequest`.
            NotServedError: A field is right, but asks for what this server does not serve.
            NotPermittedError: This caller may not ask for it.
        """
        stream = _Stream(self._desk, caller, self._max_message_bytes, OwnTurns(self._turns, MESSAGE_SECONDS))
        with closing(stream):
            async for answer in stream.answer(messages):
                yield answer


class _Stream:
    """One stream, which resizes its reservation as it goes on. Close it at the end."""

    def __init__(self, desk: Desk, caller: Caller, max_message_bytes: int, turns: OwnTurns) -> None:
        self._desk = desk
        self._turns = turns
        self._permission = caller.permission
        self._evaluation = desk.evaluation(caller)
        self._held = self._evaluation.held
        self._max_message_bytes = max_message_bytes
        self._header = v1.EvaluateRequest()
        self._header_bytes = 0
        self._request: StreamRequest | None = None
        self._whole: tuple[ce_engine.Slab, Respond] | None = None  # if the header has all elements
        self._slabs = Slabs(desk, self._evaluation)
        self._in_flight = InFlight()
        self._is_refused = False
        self._classes = 0  # not known yet
        self._seconds = 0.0

    def close(self) -> None:
        self._turns.end()
        self._in_flight.clear()
        self._evaluation.close()

    async def answer(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        with closing(Incoming(messages, self._held)) as incoming:
            await self._receive_header(incoming)
            async for reply in self._replies(incoming):
                yield reply
        if self._request is not None and not self._request.is_complete:
            await asyncio.sleep(LEAVING_SECONDS)
        summary = await self._summary()
        answer = v1.EvaluateStreamResponse(summary=summary).SerializeToString()
        evaluated = Evaluated(loss_of(self._header.spec), self._header.series, [summary], self._classes)
        self._desk.count(evaluated, self._seconds, self._evaluation.recording)  # before the caller gets it
        yield answer

    async def _receive_header(self, incoming: Incoming) -> None:
        first = await incoming.next() or b""
        if not first:
            await asyncio.sleep(LEAVING_SECONDS)
        self._header_bytes = len(first)
        start = time.perf_counter()
        self._held.resize(self._header_bytes)
        self._evaluation.recording.add("admission", start, time.perf_counter())
        await self._do(partial(self._open, first), 0.0 if len(first) <= READ_AT_ONCE_BYTES else math.inf, "read")

    async def _replies(self, incoming: Incoming) -> AsyncIterator[bytes]:
        """The messages with results, in row order. Slabs are taken in while there is room, also for a later reply."""
        while True:
            await self._turns.next()  # it lasts until the reply has left
            message = await self._next(incoming)
            if message is not None:
                self._turns.learn(len(message))
                reply = await self._take_in(message)
            elif self._in_flight:
                reply = await self._take_out()
            else:
                return
            del message  # its memory is free for the next one
            if reply:
                yield reply
            del reply

    async def _next(self, incoming: Incoming) -> bytes | None:
        """The next message if it is taken in now, whose bytes are held from then on.

        None if it is the turn of results, or after the last message.

        Raises:
            OverloadedError: There is no room for it, although nothing of this stream is in flight.
            TooLargeError: There never is.
        """
        if not self._in_flight:
            message = await incoming.next_or_end()
            if message is not None:
                await self._hold_at_last(self._needed_bytes(len(message)))
            return message
        ahead, oldest = incoming.ahead(), self._in_flight.oldest
        if not ahead.done() and not oldest.done():
            either: set[asyncio.Future[Any]] = {ahead, oldest}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        message = ahead.result() if ahead.done() else None
        return await incoming.next() if message is not None and self._takes(message) else None

    async def _hold_at_last(self, size: int) -> None:
        """Holds so many bytes, perhaps after others have made room. Meanwhile the caller's next messages wait.

        A stream that holds much does not wait: two of them could wait for each other.
        """
        end = time.monotonic() + (ROOM_SECONDS if self._held.size <= PATIENT_BYTES else 0.0)
        while True:
            try:
                return self._held.resize(size)
            except OverloadedError:
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(LOOK_FOR_ROOM_SECONDS)

    def _takes(self, message: bytes) -> bool:
        """Whether a message is taken in beside what is in flight. Holds its bytes from then on."""
        if self._is_refused or not self._in_flight.has_room(len(message)):
            return False
        try:
            self._held.resize(self._needed_bytes(len(message)))
        except (OverloadedError, TooLargeError):  # it fits later, when this stream holds less
            return False
        return True

    def _needed_bytes(self, message_bytes: int) -> int:
        request_bytes = 0 if self._request is None else self._request.held_bytes
        slabs_bytes = self._in_flight.bytes + (1 + ARRIVING) * message_bytes
        results_bytes = RESULT_COPIES * self._result_bytes(message_bytes)  # few slabs are evaluated at a time
        return max(self._header_bytes, request_bytes) + slabs_bytes + results_bytes

    def _result_bytes(self, message_bytes: int) -> int:
        """Of the slab in a message."""
        return 0 if self._request is None else round(self._request.result_bytes * message_bytes)

    async def _take_in(self, message: bytes) -> bytes | None:
        """Evaluates a message's slab at once, or puts it in flight. Returns results that have their turn now."""
        if self._in_flight:
            await self._put_in_flight(message)
            return None
        part = await self._plan(message)
        if part is None:
            return None
        if self._slabs.is_for_here(part, len(message), is_alone=True):
            return await self._finish(self._slabs.evaluate(part), len(message))
        self._put(self._slabs.submit(part), len(message))
        return None

    async def _put_in_flight(self, message: bytes) -> None:
        """Puts a message's slab in flight behind others. If it is refused, the error has its turn among the results."""
        future = Future[Landed]()
        try:
            part = await self._plan(message)
            if part is None:
                return
            if self._slabs.is_for_here(part, len(message), is_alone=False):
                future.set_result(self._slabs.evaluate(part))
            else:
                future = self._slabs.submit(part)
        except Exception as error:  # noqa: BLE001 - raised in its turn
            future.set_exception(error)
            self._is_refused = True
        self._put(future, len(message))

    def _put(self, future: "Future[Landed]", message_bytes: int) -> None:
        self._in_flight.add(future, message_bytes, self._result_bytes(message_bytes))

    async def _plan(self, message: bytes) -> Part | None:
        frame = REQUESTS.read(message)
        if not isinstance(frame, SlabFrame):
            raise FieldError("header", "expected one header, got another")
        if self._request is None:
            raise FieldError("slab", "expected none, since the header has all elements of the input")
        part = await self._do(partial(self._request.plan, frame), self._request.planning_seconds(frame), "read")
        if part is not None:
            self._classes = part.slab.kind.class_count
        return part

    async def _take_out(self) -> bytes | None:
        """The results of the oldest slab in flight."""
        await self._in_flight.oldest
        future, message_bytes = self._in_flight.take_oldest()
        return await self._finish(ended(future), message_bytes)

    async def _finish(self, landed: Landed, message_bytes: int) -> bytes | None:
        """Adds what came of a slab to the whole; returns its results."""
        end = landed.end
        self._seconds += landed.seconds
        self._slabs.learn(landed, message_bytes)
        request = cast("StreamRequest", self._request)
        await self._do(partial(request.add, end), cost.adding_seconds(end.rows.row_count), "reply")
        self._held.resize(min(self._held.size, self._needed_bytes(message_bytes)))
        return end.reply

    def _open(self, message: bytes) -> None:
        header = REQUESTS.read(message) if message else None
        if not isinstance(header, v1.EvaluateRequest):
            raise FieldError("part", f"expected a header first, got {'a slab' if header else 'nothing'}")
        self._header = header
        self._permission.check(loss_of(header.spec), header.series)
        if leaves_input_open(header):
            checked = StreamHeader.of(header)
            self._check_row(checked.row_bytes)
            self._held.check_fits(len(message) + checked.ahead_bytes)  # held as it comes, which may be never
            self._request = StreamRequest(checked)
        else:
            self._whole = plan_request(header, reserve=self._evaluation.reserve)

    def _check_row(self, row_bytes: int) -> None:
        # So an array with one number a class, such as class counts, takes at most a few times the largest message.
        if row_bytes > self._max_message_bytes:
            raise TooLargeError(f"a row has {row_bytes} bytes, and a message at most {self._max_message_bytes}")

    async def _summary(self) -> v1.EvaluateResponse:
        if self._whole is None:
            return await self._do(cast("StreamRequest", self._request).summary, 0.0, "reply")
        slab, respond = self._whole
        self._classes = slab.kind.class_count
        future = self._evaluation.submit(slab, partial(written, lambda result: respond(result).message()))
        await all_done([future])
        summary, seconds = ended(future)
        self._seconds += seconds
        return summary

    async def _do(self, work: Callable[[], T], seconds: float, step: str) -> T:
        """Does work that probably takes so long, as a step of that name: here, or in a reader's thread."""
        done = partial(_timed, work)
        value, start, end = done() if is_short(seconds) else await self._evaluation.read(done)
        self._evaluation.recording.add(step, start, end)
        self._seconds += end - start
        return value


def _timed(work: Callable[[], T]) -> tuple[T, float, float]:
    start = time.perf_counter()
    return work(), start, time.perf_counter()
