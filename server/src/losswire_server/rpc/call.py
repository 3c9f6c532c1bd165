"""A call to the service, from its start until its answer has been sent."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any, TypeAlias

import grpc

from losswire.wire import MESSAGE_BYTES_KEY
from losswire_server.calls.admission import Reservation
from losswire_server.calls.evaluation import Caller
from losswire_server.calls.turns import CALL_SECONDS, LARGE_BYTES, OwnTurns
from losswire_server.metrics.calls import MethodMetrics
from losswire_server.metrics.stages import StageMetrics
from losswire_server.rpc.access_log import AccessLog
from losswire_server.rpc.receiving.connections import SLAB_BYTES
from losswire_server.rpc.receiving.waits import Waits
from losswire_server.rpc.security.guard import Guard
from losswire_server.tracing.call_trace import OFF, Tracing

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

FIRST_MESSAGES = 2  # a header, and a slab as large as those that follow
MOST_DIGITS = 12  # of a size
COPIES = 2  # of an answer until it is sent: grpcio keeps the bytes that it was given, and gRPC a copy


class Call:
    """One call. It is counted in the metrics, traced, and written to the log of calls, whatever the reason for its end.

    Attributes:
        method: Name of the RPC.
        context: Of gRPC.
        caller: Who calls; the connection until `identify` says more.
        connection: Over which it comes.
        is_stream: Whether many messages may come.

    Args:
        most_bytes: That a good message of this method has, if that is little.
    """

    def __init__(
        self,
        metrics: MethodMetrics,
        access_log: AccessLog,
        waits: Waits,
        stages: StageMetrics,
        context: Context,
        tracing: Tracing = OFF,
        most_bytes: int | None = None,
    ) -> None:
        self.method = metrics.name
        self.context = context
        peer = context.peer()  # now: grpcio crashes if asked after the server has stopped
        self.connection = waits.connections.of(peer)
        self.is_stream = metrics.is_stream
        self._account = waits.connections.accounts.of(peer)
        self._trace = tracing.begin(metrics.name, context, peer)
        self._recording = stages.recording(self._trace.recording)
        remaining = context.time_remaining()
        deadline = None if remaining is None else time.monotonic() + remaining
        self._turns = OwnTurns(waits.turns, CALL_SECONDS)
        self.caller = Caller(peer, deadline, self._account, peer, recording=self._recording, end_turn=self._turns.end)
        self._most_bytes = most_bytes
        self._metrics = metrics
        self._access_log = access_log
        self._waits = waits
        self._received_bytes = self._sent_bytes = self._messages = self._last_bytes = 0
        self._task = asyncio.current_task()
        self._refusal: Exception | None = None
        self._answer: Reservation | None = None
        self._is_admitted = False
        self._sending_since: float | None = None
        self._start = metrics.start()

    def identify(self, guard: Guard) -> None:
        """Finds out who calls, from what came before any message.

        Raises:
            UnauthenticatedError: Nobody knows, and that must be known.
        """
        identity = guard.identify(self.context)
        self._account = self._waits.connections.accounts.of(identity.name, identity.limits)
        self.caller = self.caller._replace(name=identity.name, account=self._account, permission=identity.permission)

    def admit(self) -> None:
        """Lets the call take part in its caller's limits until it is done.

        Raises:
            OverloadedError: The caller has too many calls under way, or began too many lately.
        """
        if self._task is not None:  # gRPC's own callbacks would keep the call until a garbage collection
            self._task.add_done_callback(self._done)
        self._account.begin(is_stream=self.is_stream)
        self._is_admitted = True
        if self.is_stream:
            self._waits.begin_stream(self)
        self.connection.belongs_to(self._account)

    @cached_property
    def told_bytes(self) -> int | None:
        """The size of its message as its caller tells it, which may be a lie; None if it tells nothing."""
        if self._most_bytes is not None or self.is_stream:
            return self._most_bytes
        told = dict(self.context.invocation_metadata() or ()).get(MESSAGE_BYTES_KEY, "")
        return int(told) if isinstance(told, str) and told.isdecimal() and len(told) < MOST_DIGITS else None

    async def read(self) -> bytes | None:
        """The next message; None after the last. While it is on its way, `refuse` may end the call.

        Then gRPC is waited for all the same: grpcio never frees a message that comes for a read that was cancelled.
        """
        start = time.perf_counter()
        if self.is_stream:
            await self._account.rest()
        await self._turn_to_receive()
        self._waits.begin_receiving(self)
        try:
            await self._turns.next()
            reading = asyncio.ensure_future(self.context.read())
        except BaseException:
            self._waits.end_receiving(self)
            raise
        reading.add_done_callback(self._end_receiving)
        waiting = asyncio.shield(reading)
        del reading  # it keeps the message, and an error would keep this frame
        try:
            message = await waiting
        finally:
            self._recording.add("receive", start, time.perf_counter())
        if not isinstance(message, bytes):
            return None
        self._receive(len(message))
        self.caller.check_deadline()  # gRPC tells of it later than of the message, if both are ready
        return message

    async def only_message(self) -> bytes:
        """The message of a call that has one; empty if none came.

        If the last such one over this connection was large, so is this, probably, unless its caller tells otherwise: it
        needs a turn, which lasts until the answer has left, or until something slow is waited for.
        """
        last = self.connection.last_bytes
        self._turns.learn(last if last <= LARGE_BYTES or self.told_bytes is None else self.told_bytes)
        message = await self.read()
        if message is None:
            await self.caller.check_leaving()
        return message or b""

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self.read()) is not None:
            yield message

    def sends(self, message: Any) -> None:
        """Counts a message on its way to the caller. Its bytes are held until `sent`, or until the call is done."""
        size = len(message) if isinstance(message, bytes) else message.ByteSize()
        self._metrics.sent.inc()
        self._sent_bytes += size
        if self._answer is None:
            self._answer = self._waits.reservation(self._account)
        self._answer.hold(COPIES * size)
        self._waits.begin_sending(self)
        self._sending_since = time.perf_counter()

    def sent(self) -> None:
        """Notes that gRPC has passed on what the call `sends`."""
        self._waits.end_sending(self)
        if self._sending_since is not None:
            self._recording.add("send", self._sending_since, time.perf_counter())
            self._sending_since = None
        if self._answer is not None:
            self._answer.close()

    def refuse(self, error: Exception) -> None:
        """Ends the call with an error, unless it has ended: at once, or once an answer on its way has been sent.

        A call that is cancelled while grpcio sends would end without a status, and its caller would wait for one.
        """
        if self._refusal is None and self._task is not None:
            self._refusal = error
            if self._sending_since is None:
                self._task.cancel()

    def check_refusal(self) -> None:
        """Ends the call if it was refused while it was sending."""
        if self._refusal is not None:
            raise self._refusal

    def cause(self, error: BaseException) -> BaseException:
        """Why the call ends with an error: `refuse` may have had it cancelled."""
        if self._refusal is None or self._task is None or not isinstance(error, asyncio.CancelledError):
            return error
        self._task.uncancel()
        self._refusal.__cause__ = error  # whose frames are forgotten with those of the refusal
        return self._refusal

    def leave(self, code: grpc.StatusCode) -> None:
        """Ends the call, since its caller has left."""
        self._waits.left(self)
        self.end(code)

    def end(self, code: grpc.StatusCode, error: Exception | None = None) -> None:
        """Counts, logs and traces the call. The error is what ended it, if anything did but the caller."""
        seconds = self._metrics.end(self._start, code, error, self._recording.trace_id)
        received, sent = self._received_bytes, self._sent_bytes
        name, peer = self.caller.name, self.connection.peer
        self._access_log.add(self.method, peer, code, received, sent, seconds, caller="" if name == peer else str(name))
        self._trace.end(code, seconds, received, sent, error)

    async def _turn_to_receive(self) -> None:
        if not self.is_stream:
            await self._waits.turn_to_receive(self)
        elif self._messages < FIRST_MESSAGES or self._last_bytes > SLAB_BYTES:
            await self._waits.turn_to_receive_slab(self)

    def _end_receiving(self, reading: "asyncio.Future[Any]") -> None:
        """Counts what came for a read, also if the call has ended meanwhile: then nobody else asks for it."""
        came = None if reading.cancelled() or reading.exception() is not None else reading.result()
        if isinstance(came, bytes):
            self.connection.came(len(came))
            self._waits.end_receiving(self, len(came))
        else:
            self._waits.end_receiving(self)
            self._waits.lose(self.connection)

    def _receive(self, size: int) -> None:
        self._metrics.received.inc()
        self._messages += 1
        self._last_bytes = size
        self._received_bytes += size
        if not self.is_stream:
            self.connection.last_bytes = size
        self._account.received(size)

    def _done(self, _: Any) -> None:
        self._task = None
        self._turns.end()
        self.sent()
        self._trace.close()
        if self._is_admitted:
            self._account.end(is_stream=self.is_stream)
            if self.is_stream:
                self._waits.end_stream(self)
