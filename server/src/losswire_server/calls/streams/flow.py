"""One request in many messages: some slabs are evaluated while the next one comes and the last one's results leave.

A slab that is evaluated on the event loop while nothing of its stream is in flight is answered at once. Other slabs are
in flight until their results have their turn.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from losswire import v1
from losswire_server.calls.desk import Desk
from losswire_server.calls.evaluation import Caller, Evaluation, ended
from losswire_server.calls.streams.in_flight import InFlight
from losswire_server.calls.streams.incoming import Incoming
from losswire_server.calls.streams.room import Room
from losswire_server.calls.streams.slabs import Landed, Slabs
from losswire_server.calls.streams.whole import Whole
from losswire_server.calls.turns import MESSAGE_SECONDS, OwnTurns, Turns
from losswire_server.heads.absent import NO_HEADS, UsesHeads
from losswire_server.runs.absent import Outcome


class Streams:
    def __init__(self, desk: Desk, max_message_bytes: int, turns: Turns, heads: UsesHeads = NO_HEADS) -> None:
        self._desk = desk
        self._heads = heads
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
            HeadNotFoundError: It names a head that is not held here.
        """
        evaluation = self._desk.evaluation(caller)
        whole = Whole(evaluation, caller.permission, self._max_message_bytes, self._heads)
        stream = _Stream(self._desk, caller, evaluation, whole, OwnTurns(self._turns, MESSAGE_SECONDS))
        with closing(stream):
            async for answer in stream.answer(messages):
                yield answer


class _Stream:
    """One stream, which resizes its reservation as it goes on. Close it at the end."""

    def __init__(self, desk: Desk, caller: Caller, evaluation: Evaluation, whole: Whole, turns: OwnTurns) -> None:
        self._desk = desk
        self._turns = turns
        self._caller = caller
        self._evaluation = evaluation
        self._whole = whole
        self._slabs = Slabs(desk, self._evaluation)
        self._in_flight = InFlight()
        self._room = Room(self._evaluation.held, self._whole, self._in_flight)
        self._is_refused = False

    def close(self) -> None:
        self._turns.end()
        self._in_flight.clear()
        self._evaluation.close()

    async def answer(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        with closing(Incoming(messages, self._evaluation.held)) as incoming:
            await self._receive_header(incoming)
            async for reply in self._replies(incoming):
                yield reply
        if not self._whole.is_complete:
            await self._caller.check_leaving()
        summary = await self._whole.summary()
        for outcome in await self._commit():
            if isinstance(outcome, Exception):
                raise outcome
            summary.was_counted = outcome
        answer = v1.EvaluateStreamResponse(summary=summary).SerializeToString()
        evaluated = self._whole.evaluated(summary, len(answer))
        self._desk.count(evaluated, self._whole.seconds, self._evaluation.recording)  # before the caller gets it
        yield answer

    async def _receive_header(self, incoming: Incoming) -> None:
        first = await incoming.next() or b""
        if not first:
            await self._caller.check_leaving()
        start = time.perf_counter()
        self._room.hold_header(len(first))
        self._evaluation.recording.add("admission", start, time.perf_counter())
        await self._whole.open(first)
        if self._whole.keyed is not None:  # slabs of any number follow, in vain if the run would refuse them
            await self._desk.check_keyed(self._whole.keyed)

    async def _commit(self) -> list[Outcome]:
        entries = self._whole.entries()
        if not entries:
            return []
        self._turns.end()  # others go on meanwhile
        return await self._desk.commit(entries, self._evaluation.recording)

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
                await self._room.hold_at_last(len(message))
            return message
        ahead, oldest = incoming.ahead(), self._in_flight.oldest
        if not ahead.done() and not oldest.done():
            either: set[asyncio.Future[Any]] = {ahead, oldest}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        message = ahead.result() if ahead.done() else None
        return await incoming.next() if message is not None and self._takes(message) else None

    def _takes(self, message: bytes) -> bool:
        """Whether a message is taken in beside what is in flight. Holds its bytes from then on."""
        return not self._is_refused and self._room.holds(len(message))

    async def _take_in(self, message: bytes) -> bytes | None:
        """Evaluates a message's slab at once, or puts it in flight. Returns results that have their turn now."""
        if self._in_flight:
            await self._put_in_flight(message)
            return None
        part = await self._whole.plan(message)
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
            part = await self._whole.plan(message)
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
        self._in_flight.add(future, message_bytes, self._whole.result_bytes(message_bytes))

    async def _take_out(self) -> bytes | None:
        """The results of the oldest slab in flight."""
        await self._in_flight.oldest
        future, message_bytes = self._in_flight.take_oldest()
        return await self._finish(ended(future), message_bytes)

    async def _finish(self, landed: Landed, message_bytes: int) -> bytes | None:
        """Adds what came of a slab to the whole; returns its results."""
        self._slabs.learn(landed, message_bytes)
        await self._whole.add(landed.end, landed.seconds)
        self._room.give_back(message_bytes)
        return landed.end.reply
