"""What came of messages that nobody takes, since their calls were cancelled or refused. It must not count for ever."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from functools import partial

from losswire_server.process.sockets import Sockets
from losswire_server.rpc.receiving.arrivals import Arrivals, Waiting
from losswire_server.rpc.receiving.connections import LEAST_BYTES, Connection, ahead_of

LOST_SECONDS = 1.0  # in which a caller learns that its call has ended, and sends no more of a message
LATE_SECONDS = 0.2  # in which the event loop takes a call over of which something has come


class LostMessages:
    """Tells them from the messages that come beside them. Use it in the event loop.

    Args:
        arrivals: Know the calls for which messages may arrive.
        receiving: Those of them whose message is taken in.
        sockets: The connections, as the kernel knows them.
    """

    def __init__(
        self, arrivals: Arrivals, receiving: Collection[Waiting], sockets: Sockets, clock: Callable[[], float]
    ) -> None:
        self._arrivals = arrivals
        self._receiving = receiving
        self._sockets = sockets
        self._clock = clock
        self._unsettled: dict[Connection, _Lost] = {}  # that are not told from what comes beside them yet

    def lose(self, connection: Connection) -> None:
        """Counts no more what came of a message that nobody takes, and what still comes until its caller knows."""
        if self._ahead(connection) >= LEAST_BYTES:
            connection.lost_until = self._clock() + LOST_SECONDS
            self.settle(connection)
            asyncio.get_running_loop().call_later(LOST_SECONDS / 2, self.settle, connection)

    def begin(self, call: Waiting) -> None:
        """The message of a call is taken in from now on."""
        if lost := self._unsettled.get(call.connection):
            lost.begin(call, self._clock())

    def end(self, call: Waiting, size: int) -> None:
        """A message of so many bytes has come; of 0 if it was lost."""
        if lost := self._unsettled.get(call.connection):
            lost.end(call, size)
        self.settle(call.connection)

    def settle(self, connection: Connection) -> None:
        """Forgets what is known to be lost by now."""
        if not connection.lost_until or connection.endpoint is None:
            return
        if connection.receiving:
            self._settle_beside_others(connection)
            return
        self._unsettled.pop(connection, None)
        connection.settle(partial(self._sockets.received_bytes, connection.endpoint))
        if self._clock() > connection.lost_until:
            connection.lost_until = 0.0

    def _settle_beside_others(self, connection: Connection) -> None:
        lost = self._unsettled.get(connection)
        if lost is None:
            self._unsettled[connection] = self._lost(connection)
        elif (size := lost.size) is not None:
            del self._unsettled[connection]
            connection.lose(size)
            if lost.since > connection.lost_until:
                connection.lost_until = 0.0

    def _lost(self, connection: Connection) -> "_Lost":
        calls = self._arrivals.calls_of(connection)
        others = [call for call in calls if call in self._receiving and not call.is_stream]
        streams = sum(call.is_stream for call in calls)
        ahead = connection.held_back * connection.lookahead_bytes + streams * connection.stream_bytes
        return _Lost(self._ahead(connection) - ahead, self._clock(), others)

    def _ahead(self, connection: Connection) -> int:
        return ahead_of(connection, self._sockets) or 0


class _Lost:
    """What had come over a connection when one of its messages was lost, while others came.

    Once these have come, or are lost as well, what had come until then and is not theirs is known to be nobody's.

    Args:
        came: Bytes of messages that are not complete.
        now: In seconds.
        others: Calls whose messages are taken in.

    Attributes:
        since: When it was.
    """

    def __init__(self, came: int, now: float, others: Iterable[object]) -> None:
        self.since = now
        self._lost = came
        self._others = set(others)

    def begin(self, call: object, now: float) -> None:
        """The message of another call is taken in. The event loop may have been busy since it came."""
        if now < self.since + LATE_SECONDS:
            self._others.add(call)

    def end(self, call: object, size: int) -> None:
        """A message of so many bytes has come; of 0 if it was lost."""
        if call in self._others:
            self._others.remove(call)
            self._lost -= size

    @property
    def size(self) -> int | None:
        """The bytes that are nobody's, at least; None while that is not known."""
        return None if self._others else max(0, self._lost)
