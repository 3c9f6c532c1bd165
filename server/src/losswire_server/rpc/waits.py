"""The calls that wait for their callers: for the rest of a message, or for an answer to be read.

What has arrived of messages is counted as bytes in flight while they are on their way. A caller that takes too long is
cut off.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from losswire_server.calls.admission import Admission, Reservation
from losswire_server.calls.limits import RETRY_MILLISECONDS, Account
from losswire_server.errors import OverloadedError, TooLargeError, TooSlowError
from losswire_server.process.sockets import Endpoint, Sockets
from losswire_server.rpc.connections import Connection, Connections

LOOK_SECONDS = 0.02  # some 20 MB arrive in this time over loopback
LOOK_SHARE = 20  # looking takes no more than one part of so many of the event loop's time
ON_ITS_WAY_SECONDS = 0.01  # small messages are complete by then
STALLED_SECONDS = 2.0  # an unfinished message of which nothing comes for longer makes room for others
FIND_SECONDS = 1.0  # between looking for connections that have ended

log = logging.getLogger(__name__)


class Waiting(Protocol):
    """A call that waits.

    Attributes:
        connection: Over which it comes.
        is_stream: Whether many messages may come.
    """

    connection: Connection
    is_stream: bool

    def refuse(self, error: Exception) -> None:
        """Ends the call with an error."""


class Waits:
    """Looks after calls that wait, in the event loop, while there are some.

    Args:
        admission: Counts bytes in flight.
        connections: Of the callers.
        sockets: The same, as the kernel knows them.
        send_seconds: For a message to arrive, or an answer to be read.
        idle_seconds: For a stream's next message to arrive.
    """

    def __init__(
        self,
        admission: Admission,
        connections: Connections,
        sockets: Sockets,
        send_seconds: float,
        idle_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connections = connections
        self._admission = admission
        self._sockets = sockets
        self._send_seconds = send_seconds
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._receiving: dict[Waiting, float] = {}  # since when; the longest first
        self._sending: dict[Waiting, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._found = clock()
        self._finding: asyncio.Future[set[Endpoint]] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def reservation(self, account: Account) -> Reservation:
        """A reservation for an answer."""
        return self._admission.reservation(account)

    def begin_receiving(self, call: Waiting) -> None:
        """A call waits for a message from now on."""
        self._receiving[call] = self._clock()
        call.connection.receiving += 1
        self._look_later()

    def end_receiving(self, call: Waiting) -> None:
        if self._receiving.pop(call, None) is not None:
            call.connection.receiving -= 1

    def begin_sending(self, call: Waiting) -> None:
        """A call waits for its answer to be read from now on."""
        self._sending[call] = self._clock()
        self._look_later()

    def end_sending(self, call: Waiting) -> None:
        self._sending.pop(call, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self, seconds: float = LOOK_SECONDS) -> None:
        if self._timer is None:
            self._loop = asyncio.get_running_loop()
            self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer, start = None, self._clock()
        self._end_slow_callers(start)
        self._end_slow_readers(start)
        self._count_what_arrived(start)
        if self._receiving or self._sending:
            self._look_later(max(LOOK_SECONDS, LOOK_SHARE * (self._clock() - start)))

    def _end_slow_callers(self, now: float) -> None:
        least = min(self._send_seconds, self._idle_seconds)
        for call, since in list(self._receiving.items()):
            if now - since < least:
                break
            most = self._idle_seconds if call.is_stream else self._send_seconds
            if now - since >= most:
                call.refuse(TooSlowError(f"a message took longer to arrive than the {most:g} seconds it may"))

    def _end_slow_readers(self, now: float) -> None:
        """Ends the connections of callers that do not read: gRPC has no other way to take an answer back."""
        for call, since in list(self._sending.items()):
            if now - since < self._send_seconds:
                break
            del self._sending[call]
            endpoint = call.connection.endpoint
            if endpoint is not None and self._sockets.end(endpoint):
                extra = {"peer": call.connection.peer, "seconds": self._send_seconds}
                log.warning("connection ended, since its caller does not read", extra=extra)

    def _count_what_arrived(self, now: float) -> None:
        oldest: dict[Connection, Waiting] = {}
        for call, since in self._receiving.items():
            if now - since < ON_ITS_WAY_SECONDS:
                break
            oldest.setdefault(call.connection, call)
        unknown = [connection for connection, call in oldest.items() if not self._count(connection, call)]
        if unknown or now - self._found >= FIND_SECONDS:
            self._find(now)

    def _count(self, connection: Connection, call: Waiting) -> bool:
        """Counts what arrived over a connection. Returns whether the connection is known."""
        endpoint = connection.endpoint
        received = None if endpoint is None else self._sockets.received_bytes(endpoint)
        if received is None:
            return endpoint is None
        unfinished = connection.unfinished_bytes(received)
        try:
            if connection.hold(unfinished):
                self._admission.begin_silence(connection.held, partial(self._make_room, call), STALLED_SECONDS)
        except (OverloadedError, TooLargeError) as error:
            call.refuse(OverloadedError(str(error), RETRY_MILLISECONDS))
        return True

    def _make_room(self, call: Waiting) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end_stalled, call)

    def _end_stalled(self, call: Waiting) -> None:
        if call in self._receiving:  # else its message came in the meantime
            problem = "nothing came of this message for long, and other callers need the memory that it takes"
            call.refuse(OverloadedError(problem, RETRY_MILLISECONDS))

    def _find(self, now: float) -> None:
        """Looks for connections in a thread, since that takes long where they are many."""
        if self._loop is None or self._finding is not None:
            return
        self._found = now
        self._finding = self._loop.run_in_executor(None, self._sockets.look)
        self._finding.add_done_callback(self._take_found)

    def _take_found(self, finding: "asyncio.Future[set[Endpoint]]") -> None:
        self._finding = None
        if finding.cancelled() or finding.exception() is not None:
            return
        self.connections.forget(finding.result())
        for connection in self.connections:
            if connection.is_unsettled and connection.endpoint is not None:
                received = self._sockets.received_bytes(connection.endpoint)
                if received is not None:
                    connection.settle(received)
