"""One request in many messages: each slab is evaluated while the next one comes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, cast

from losswire import v1
from losswire.errors import FieldError
from losswire.frames import REQUESTS, SlabFrame
from losswire_server.calls.admission import RETRY_MILLISECONDS
from losswire_server.calls.desk import UNKNOWN_SECONDS, Desk, Evaluation
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.requests.one import evaluate
from losswire_server.requests.slabs.stream_header import StreamHeader, leaves_input_open
from losswire_server.requests.slabs.stream_request import StreamRequest

MESSAGES_AT_ONCE = 3  # one arrives, one is evaluated, and one with results is sent
LEAVING_SECONDS = 0.01  # in which grpcio reports that a caller left, after it reported the end of the messages


class Streams:
    def __init__(self, desk: Desk, max_message_bytes: int) -> None:
        self._desk = desk
        self._max_message_bytes = max_message_bytes

    async def __call__(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Answers the messages of one stream. Takes a message only when results are read and evaluation keeps up.

        Raises:
            OverloadedError: Too much is in flight.
            TooLargeError: A row fits no message, or the call must hold more bytes than may be in flight.
            DecodeError: A message does not follow the contract.
            FieldError: A field is wrong; see `StreamHeader` and `StreamRequest`.
            NotServedError: A field is right, but asks for what this server does not serve.
        """
        with closing(self._desk.evaluation()) as evaluation:
            async for answer in _Stream(evaluation, self._max_message_bytes).answer(messages):
                yield answer


class _Stream:
    """One stream, which resizes its reservation as it goes on."""

    def __init__(self, evaluation: Evaluation, max_message_bytes: int) -> None:
        self._evaluation = evaluation
        self._held = evaluation.held
        self._max_message_bytes = max_message_bytes
        self._request = v1.EvaluateRequest()
        self._summary = v1.EvaluateResponse()
        self._pace = UNKNOWN_SECONDS  # seconds of work for a byte of the last message
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._ended_for_others = False
        self._stream_request: StreamRequest | None = None
        self._header_bytes = 0

    async def answer(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        first = await anext(messages, b"")
        if not first:
            await asyncio.sleep(LEAVING_SECONDS)
        self._header_bytes = len(first)
        self._held.resize(self._header_bytes)
        await self._evaluation.do(partial(self._open, first), UNKNOWN_SECONDS)
        del first
        message = await self._wait_for(anext(messages, None))
        while message is not None:
            self._hold(len(message))
            with _next(messages) as coming:  # the caller may send it only when it has these results
                results = await self._take(message)
                del message
                if results:
                    yield results
                del results
                message = await self._wait_for(coming)
        if self._stream_request is not None and not self._stream_request.is_complete:
            await asyncio.sleep(LEAVING_SECONDS)
        summary = await self._evaluation.do(self._finish, UNKNOWN_SECONDS)
        self._evaluation.count(self._request, self._summary)  # before the caller gets it
        yield summary

    async def _wait_for(self, coming: Awaitable[bytes | None]) -> bytes | None:
        """The next message. Raises if others need the memory that this stream holds."""
        try:
            with self._held.silence(self._end_for_others):
                return await coming
        except asyncio.CancelledError:
            if not self._ended_for_others:
                raise
            self._task.uncancel()
            problem = "this stream sent nothing for long, and other callers need the memory that it holds"
            raise OverloadedError(problem, RETRY_MILLISECONDS) from None

    def _end_for_others(self) -> None:
        self._ended_for_others = True
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def _hold(self, message_bytes: int) -> None:
        request_bytes = 0 if self._stream_request is None else self._stream_request.held_bytes
        self._held.resize(max(self._header_bytes, request_bytes) + MESSAGES_AT_ONCE * message_bytes)

    async def _take(self, message: bytes) -> bytes | None:
        """The results of a slab. For its size it probably takes as long as the last slab."""
        return await self._evaluation.do(partial(self._accept, message), self._pace * len(message))

    def _open(self, message: bytes) -> None:
        header = REQUESTS.read(message) if message else None
        if not isinstance(header, v1.EvaluateRequest):
            raise FieldError("part", f"expected a header first, got {'a slab' if header else 'nothing'}")
        self._request = header
        if leaves_input_open(header):
            checked = StreamHeader.of(header)
            self._check_row(checked.row_bytes)
            self._held.check_fits(len(message) + checked.ahead_bytes)  # held as it comes, which may be never
            self._stream_request = StreamRequest(checked)
        else:
            self._summary = evaluate(header)

    def _check_row(self, row_bytes: int) -> None:
        # So an array with one number a class, such as class counts, takes at most a few times the largest message.
        if row_bytes > self._max_message_bytes:
            raise TooLargeError(f"a row has {row_bytes} bytes, and a message at most {self._max_message_bytes}")

    def _accept(self, message: bytes) -> bytes | None:
        start = time.thread_time()  # without time in which others hold the interpreter's lock
        results = self._evaluate(REQUESTS.read(message))
        self._pace = (time.thread_time() - start) / len(message)
        return results

    def _evaluate(self, slab: v1.EvaluateRequest | SlabFrame) -> bytes | None:
        if not isinstance(slab, SlabFrame):
            raise FieldError("header", "expected one header, got another")
        if self._stream_request is None:
            raise FieldError("slab", "expected none, since the header has all elements of the input")
        return self._stream_request.accept(slab)

    def _finish(self) -> bytes:
        if self._stream_request is not None:
            self._summary = self._stream_request.summary()
        return v1.EvaluateStreamResponse(summary=self._summary).SerializeToString()


@contextmanager
def _next(messages: AsyncIterator[bytes]) -> Iterator[Awaitable[bytes | None]]:
    """The next message, received while the block runs; None at the end."""
    coming = asyncio.ensure_future(anext(messages, None))
    try:
        yield coming
    finally:
        coming.cancel()
