"""Counts what has arrived of messages that are not complete, as bytes in flight, while they are on their way.

It does so in a thread of its own: taking large messages over from gRPC holds up the event loop for long.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from losswire_server.calls.admission import Admission
from losswire_server.calls.limits import RETRY_MILLISECONDS
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.metrics.connections import UNSEEN, ConnectionMetrics
from losswire_server.process.allocator import FreedMemory
from losswire_server.process.sockets import Sockets
from losswire_server.rpc.receiving.connections import Connection, Connections
from losswire_server.settings.sizes import KEPT_PARTS, MESSAGE_COPIES

LOOK_SECONDS = 0.01  # some 10 MB arrive in this time over loopback
LOOK_SHARE = 20  # looking takes no more than one part of so many of the time
ON_ITS_WAY_SECONDS = 0.005  # small messages are complete by then
COPIES = MESSAGE_COPIES  # of a message, since grpcio copies it twice when it is complete; slabs are small
SPARE_SHARE = 32  # calls are ended without being asked if what came exceeds the budget by one part of so many
STALLED_SECONDS = 2.0  # an unfinished message of which nothing comes for longer makes room for others
GIVE_BACK_SECONDS = 0.05
FIND_SECONDS = 1.0  # between looking for connections that have ended

Refused = OverloadedError | TooLargeError

log = logging.getLogger(__name__)


class Waiting(Protocol):
    """A call that waits.

    Attributes:
        connection: Over which it comes.
        is_stream: Whether many messages may come.
    """

    connection: Connection
    is_stream: bool

    @property
    def told_bytes(self) -> int | None:
        """The size of its message as its caller tells it, which may be a lie; None if it tells nothing."""

    def refuse(self, error: Exception) -> None:
        """Ends the call with an error."""


class Arrivals:
    """Watches the connections of calls for which messages may arrive, while there are some.

    Args:
        admission: Counts bytes in flight.
        connections: Of the callers.
        sockets: The same, as the kernel knows them.
        metrics: Of connections that are ended.
    """

    def __init__(
        self,
        admission: Admission,
        connections: Connections,
        sockets: Sockets,
        clock: Callable[[], float] = time.monotonic,
        metrics: ConnectionMetrics = UNSEEN,
    ) -> None:
        self._admission = admission
        self._connections = connections
        self._sockets = sockets
        self._metrics = metrics
        self._watched: dict[Waiting, float] = {}  # since when; the longest first
        self._clock = clock
        self._freed = FreedMemory(admission.max_bytes // KEPT_PARTS)
        self._found = self._gave_back = clock()
        self._streaming: set[Connection] = set()  # that carry streams
        self._refused: set[Waiting] = set()  # that the event loop has not ended yet
        self._wanted, self._much_is_free = threading.Event(), threading.Event()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="losswire-arrivals", daemon=True)

    def watch(self, call: Waiting) -> None:
        """Messages may arrive for a call from now on. Use it in the event loop."""
        if call in self._watched:
            return
        self._watched[call] = self._clock()
        call.connection.begin_receiving()
        if not self._wanted.is_set():
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
                self._thread.start()
            self._wanted.set()

    def forget(self, call: Waiting) -> None:
        """No message is on its way to a call any more. Use it in the event loop."""
        if self._watched.pop(call, None) is not None:
            call.connection.end_receiving()

    def give_back(self) -> None:
        """Has freed memory given back at once, since a large message has come: grpcio has freed its copies."""
        self._much_is_free.set()

    def calls_of(self, connection: Connection) -> list[Waiting]:
        """The calls of a connection for which messages may arrive. Use it in the event loop."""
        return [call for call in self._watched if call.connection is connection]

    def close(self) -> None:
        self._closed = True
        self._wanted.set()
        if self._loop is not None:
            self._thread.join()

    def _run(self) -> None:
        pause = LOOK_SECONDS
        while not self._closed:
            self._rest()
            much_is_free = self._much_is_free.wait(pause)
            start, used = self._clock(), time.thread_time()  # and not the time in which it waits for the event loop
            self._look(start)
            pause = max(LOOK_SECONDS, LOOK_SHARE * (time.thread_time() - used))
            if much_is_free or start - self._gave_back >= GIVE_BACK_SECONDS:
                self._much_is_free.clear()
                self._freed.give_back()
                self._gave_back = self._clock()
            if not self._watched:
                self._wanted.clear()

    def _rest(self) -> None:
        """Waits until messages may arrive. Gives back what the last ones, evaluations and answers free meanwhile."""
        while not self._wanted.is_set():
            self._freed.give_back()
            if not self._wanted.wait(GIVE_BACK_SECONDS) and not self._admission.inflight_bytes:
                self._wanted.wait()

    def _look(self, now: float) -> None:
        calls = self._youngest(now)
        unknown = [connection for connection in calls if not self._count(connection, now)]
        if unknown or now - self._found >= FIND_SECONDS:
            self._find(now)
        self._refused.intersection_update(calls.values())
        self._hold([call for call in calls.values() if call not in self._refused])
        self._end_youngest(calls)

    def _youngest(self, now: float) -> dict[Connection, Waiting]:
        """The youngest call of each connection, the oldest connection first. Streams are what fills a connection."""
        watched = list(self._watched.items())
        self._streaming = {call.connection for call, _ in watched if call.is_stream}
        calls: dict[Connection, Waiting] = {}
        for call, since in watched:
            if now - since < ON_ITS_WAY_SECONDS:
                break
            if call.is_stream or call.connection not in self._streaming:
                calls[call.connection] = call
        return calls

    def _count(self, connection: Connection, now: float) -> bool:
        """Counts what arrived over a connection. Returns whether the connection is known, if it is on a network."""
        endpoint = connection.endpoint
        return endpoint is None or connection.count(partial(self._sockets.received_bytes, endpoint), now)

    def _hold(self, calls: list[Waiting]) -> None:
        """Holds what arrived for calls, the oldest first. Younger ones make room: else none of them would end.

        What gRPC reads ahead of streams is bounded, and they wait for room by themselves. Other calls on their
        connections must not be refused for it. What exceeds it is of large slabs that are taken in.
        """
        for number, call in enumerate(calls):
            younger = calls[number + 1 :]
            while call not in self._refused:
                try:
                    self._hold_one(call)
                    break
                except (OverloadedError, TooLargeError) as error:
                    self._refuse(next(filter(self._can_make_room, reversed(younger)), call), error)

    def _hold_one(self, call: Waiting) -> None:
        connection, is_ahead = call.connection, self._is_ahead(call.connection)
        has_grown = connection.hold(1 if is_ahead else COPIES, whether_it_fits=not is_ahead)
        if has_grown and not connection.is_held_back:
            self._admission.begin_silence(connection.held, partial(self._make_room, call), STALLED_SECONDS)

    def _is_ahead(self, connection: Connection) -> bool:
        """Whether what came may be what gRPC reads ahead of streams, or read ahead of those that have ended."""
        most = connection.receiving * connection.stream_bytes
        return connection in self._streaming and (connection.unfinished <= most or connection.lost_until > 0)

    def _can_make_room(self, call: Waiting) -> bool:
        return call not in self._refused and call.connection.held.size > 0

    def _end_youngest(self, calls: dict[Connection, Waiting]) -> None:
        """Ends connections while more came than fits: the event loop may be too busy to refuse their calls."""
        held = sum(connection.held.size for connection in calls)
        came = sum(connection.unfinished for connection in calls)
        excess = self._admission.inflight_bytes - held + came - self._admission.max_bytes
        for connection, call in reversed(calls.items()):
            if excess <= self._admission.max_bytes // SPARE_SHARE:
                break
            if connection.unfinished:
                excess -= connection.unfinished
                self._end_one(connection, call)

    def _end_one(self, connection: Connection, call: Waiting) -> None:
        if connection in self._streaming:
            problem = "more came than fits beside the requests in flight"
            self._refuse(call, OverloadedError(problem, RETRY_MILLISECONDS))
        elif connection.endpoint is not None and self._sockets.end(connection.endpoint):
            self._metrics.count_ended("memory")
            log.warning("connection ended, since more came than fits", extra={"peer": connection.peer})

    def _make_room(self, call: Waiting) -> None:
        problem = "nothing came of this message for long, and other callers need the memory that it takes"
        self._tell(call, OverloadedError(problem, RETRY_MILLISECONDS))  # and no more: admission is locked here

    def _refuse(self, call: Waiting, error: Refused) -> None:
        self._refused.add(call)
        call.connection.let_go()
        self._tell(call, error)

    def _tell(self, call: Waiting, error: Refused) -> None:
        if self._loop is not None and not self._closed:
            self._loop.call_soon_threadsafe(self._end, call, error)

    def _end(self, call: Waiting, error: Refused) -> None:
        if call in self._watched:  # else it has ended, or its message came in the meantime
            call.refuse(error)

    def _find(self, now: float) -> None:
        """Looks for all connections, forgets those that have ended, and settles the counts of those that rest."""
        self._found = now
        found = self._sockets.look()
        if self._loop is not None and not self._closed:
            self._loop.call_soon_threadsafe(self._connections.forget, found)
        for connection in self._connections:
            if connection.is_unsettled and connection.endpoint is not None:
                connection.settle(partial(self._sockets.received_bytes, connection.endpoint))
