"""The calls that wait for their callers: for the rest of a message, or for an answer to be read.

A caller that takes too long is cut off.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from losswire_server.calls.admission import Admission, Reservation
from losswire_server.calls.limits import Account
from losswire_server.calls.turns import Turns
from losswire_server.errors import TooSlowError
from losswire_server.metrics.connections import UNSEEN, ConnectionMetrics
from losswire_server.process.sockets import Sockets
from losswire_server.rpc.receiving.arrivals import Arrivals, Waiting
from losswire_server.rpc.receiving.connections import Connection, Connections
from losswire_server.rpc.receiving.intake import Intake
from losswire_server.rpc.receiving.lost_messages import LostMessages
from losswire_server.rpc.receiving.told_sizes import ToldSizes
from losswire_server.rpc.resets import Resets

LOOK_SECONDS = 0.1
FREED_BYTES = 2**23  # of a message: when a larger one has come, grpcio has freed two copies that are worth giving back

log = logging.getLogger(__name__)


class Waits:
    """Looks after calls that wait, in the event loop, while there are some.

    Args:
        admission: Counts bytes in flight.
        connections: Of the callers.
        sockets: The same, as the kernel knows them.
        send_seconds: For a message to arrive, or an answer to be read.
        idle_seconds: For a stream's next message to arrive.
        turns: Of calls with large messages.
        resets: Counts calls that were left; None if nobody does.
        max_message_bytes: That a message may have.
        metrics: Of connections that are ended.
    """

    def __init__(
        self,
        admission: Admission,
        connections: Connections,
        sockets: Sockets,
        send_seconds: float,
        idle_seconds: float,
        turns: Turns,
        clock: Callable[[], float] = time.monotonic,
        resets: Resets | None = None,
        max_message_bytes: int = 0,
        metrics: ConnectionMetrics = UNSEEN,
    ) -> None:
        self.connections = connections
        self.turns = turns
        self._admission = admission
        self._sockets = sockets
        self._send_seconds = send_seconds
        self._idle_seconds = idle_seconds
        self._resets = resets
        self._metrics = metrics
        self._clock = clock
        self._receiving: dict[Waiting, float] = {}  # since when; the longest first
        self._arrivals = Arrivals(admission, connections, sockets, clock, metrics)
        self._intake = Intake(admission, sockets, max_message_bytes, clock)
        self._lost = LostMessages(self._arrivals, self._receiving, sockets, clock)
        self._told_sizes = ToldSizes(self._arrivals, self._receiving, sockets, max_message_bytes)
        self._sending: dict[Waiting, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def reservation(self, account: Account) -> Reservation:
        """A reservation for an answer."""
        return self._admission.reservation(account)

    async def turn_to_receive(self, call: Waiting) -> None:
        """Waits until the only message of a call may be taken in."""
        if self._intake.takes(call.connection):
            return
        self._arrivals.watch(call)
        call.connection.held_back += 1
        try:
            await self._intake.turn(call.connection, self._told_sizes.believed(call))
        except BaseException:
            self._forget(call)
            self.lose(call.connection)
            raise
        finally:
            call.connection.held_back -= 1

    async def turn_to_receive_slab(self, call: Waiting) -> None:
        """Waits until a message of a stream may be taken in, which may be larger than what gRPC reads ahead."""
        await self._intake.turn_of_slab(call.connection)
        self._intake.begin(call)

    def begin_receiving(self, call: Waiting) -> None:
        """A call waits for a message from now on."""
        self._receiving[call] = self._clock()
        if not call.is_stream:
            self._arrivals.watch(call)
            self._intake.begin(call)
            self._lost.begin(call)
        self._look_later()

    def end_receiving(self, call: Waiting, size: int = 0) -> None:
        """A message of so many bytes has come; of 0 if none will."""
        self._receiving.pop(call, None)
        self._intake.end(call, size)
        if size > FREED_BYTES:
            self._arrivals.give_back()
        if call.is_stream:
            self._lost.settle(call.connection)
        else:
            self._forget(call, size)

    def lose(self, connection: Connection) -> None:
        """Counts no more what came of a message that nobody takes, and what still comes until its caller knows."""
        self._lost.lose(connection)

    def _forget(self, call: Waiting, size: int = 0) -> None:
        self._arrivals.forget(call)
        self._lost.end(call, size)

    def begin_stream(self, call: Waiting) -> None:
        """Messages of a stream arrive from now on, also while it does not wait for one."""
        self._arrivals.watch(call)

    def end_stream(self, call: Waiting) -> None:
        self._forget(call)
        self.lose(call.connection)

    def begin_sending(self, call: Waiting) -> None:
        """A call waits for its answer to be read from now on."""
        self._sending[call] = self._clock()
        self._look_later()

    def end_sending(self, call: Waiting) -> None:
        self._sending.pop(call, None)

    def left(self, call: Waiting) -> None:
        """A caller has left a call before it was answered."""
        if self._resets is not None:
            self._resets.count(call.connection)

    def close(self) -> None:
        """Looks after nobody any more."""
        self._arrivals.close()
        self._intake.close()
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer, now = None, self._clock()
        self._end_slow_callers(now)
        self._end_slow_readers(now)
        if self._receiving or self._sending:
            self._look_later()

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
                self._metrics.count_ended("slow_reader")
                extra = {"peer": call.connection.peer, "seconds": self._send_seconds}
                log.warning("connection ended, since its caller does not read", extra=extra)
