"""Lets large messages in one after the other while memory is short.

gRPC takes only the beginning of a message, up to `lookahead_bytes`, until it is read. Then it takes all of it, as fast
as it comes, and grpcio copies it while nothing else runs: of many at a time, more would come than can be refused.
Nobody says how large a message is before all of it is there, so what has come of it tells.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress

from losswire_server.calls.admission import Admission
from losswire_server.calls.limits import RETRY_MILLISECONDS
from losswire_server.errors import OverloadedError
from losswire_server.process.sockets import Sockets
from losswire_server.rpc.receiving.arrivals import COPIES, Waiting
from losswire_server.rpc.receiving.connections import Connection, ahead_of

LOOK_SECONDS = 0.01
MOST_SECONDS = 2.0  # for room: then its caller had better try again later
SPARE_SHARE = 16  # of the budget, one part of so many: it stays free, and what takes no more does not count
KNOWN_SECONDS = 0.02  # in which a new connection is found
UNKNOWN = -1
BEGUN_BYTES = 2**7  # that come with the beginning of any message
LARGE_BYTES = 2**14  # of a beginning: callers that know nothing of the server's windows yet send up to four times that


class Intake:
    """The calls whose message is taken in, and those that wait for their turn. Use it in the event loop.

    Args:
        admission: Counts bytes in flight.
        sockets: The connections, as the kernel knows them.
        max_message_bytes: That a message may have.
    """

    def __init__(
        self,
        admission: Admission,
        sockets: Sockets,
        max_message_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admission = admission
        self._sockets = sockets
        self._whole = COPIES * max_message_bytes
        self._clock = clock
        self._receiving: dict[Waiting, None] = {}
        self._waiting: dict[Connection, deque[_Beginning]] = {}  # who had a turn last is last
        self._certain: list[Connection] = []  # that have a turn and do not know it yet, or whose message has just come
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, call: Waiting) -> None:
        """A message is taken in from now on."""
        self._receiving[call] = None

    def end(self, call: Waiting, size: int = 0) -> None:
        """A message of so many bytes has come; of 0 if none will."""
        if call not in self._receiving:
            return
        del self._receiving[call]
        if size > LARGE_BYTES:
            self._certain.append(call.connection)
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._let_go, call.connection)

    def _let_go(self, connection: Connection) -> None:
        """Counts a message no more once the task of its call has run, which holds its bytes from then on.

        The task wakes up in the next round of the event loop, so this comes in the one after it.
        """
        self._certain.remove(connection)
        self._pass_on()

    def close(self) -> None:
        """Lets nobody in any more."""
        if self._timer is not None:
            self._timer.cancel()

    def takes(self, connection: Connection) -> bool:
        """Whether a message may be taken in at once, however large it and those that are being taken in may be."""
        takes = not self._waiting and self._whole <= self._room([call.connection for call in self._receiving])
        if takes:
            connection.begin_fast(self._clock())
        return takes

    async def turn(self, connection: Connection, told_bytes: int | None = None) -> None:
        """Waits until a message may be taken in, unless it is small. Connections take turns.

        Args:
            connection: Over which it comes.
            told_bytes: Its size, if its caller tells it and can be believed.

        Raises:
            OverloadedError: It does not fit, or there was no room for long.
            TooLargeError: It can never fit.
        """
        if await self._is_small(connection) if told_bytes is None else told_bytes < LARGE_BYTES:
            return
        begun = max(0, self._ahead(connection)) if told_bytes is None else told_bytes
        connection.check_fits(COPIES * min(begun, connection.lookahead_bytes))
        await self._wait(connection, told_bytes)
        connection.begin_fast(self._clock())

    async def turn_of_slab(self, connection: Connection) -> None:
        """As `turn`, for a message of a stream, which is not refused for want of room: the stream waits by itself."""
        if self._ahead(connection) < connection.lookahead_bytes:
            return
        with suppress(OverloadedError):
            await self._wait(connection)
        connection.begin_fast(self._clock())

    @property
    def _room_now(self) -> float:
        """As `_room`, beside those that come fast."""
        now = self._clock()
        fast = [call.connection for call in self._receiving if call.connection.is_fast(now)]
        return self._room([*self._certain, *fast])

    def _room(self, others: Collection[Connection]) -> float:
        """The bytes for one more message beside others of any size. If nothing else is in flight, any has its turn."""
        held = sum(connection.held.size for connection in {*others, *self._waiting})
        others_bytes, spare = self._admission.inflight_bytes - held, self._admission.max_bytes // SPARE_SHARE
        if not others and others_bytes <= spare:
            return math.inf
        return self._admission.max_bytes - spare - others_bytes - len(others) * self._whole

    def _needed(self, beginning: "_Beginning") -> int:
        """The bytes that a message probably takes: as many as the last one, if this is larger than what is read ahead.

        If nothing more comes of it, although gRPC would read more ahead, then it is complete.
        """
        if beginning.told_bytes is not None:
            return COPIES * beginning.told_bytes
        last, lookahead = beginning.connection.last_bytes, beginning.connection.lookahead_bytes
        if beginning.rests and beginning.ahead < lookahead - LARGE_BYTES:
            return COPIES * beginning.ahead
        return COPIES * (last + last // 4) if last > lookahead else self._whole

    async def _is_small(self, connection: Connection) -> bool:
        if connection.endpoint is None:  # not on a network: nothing is known of it
            return True
        if self._ahead(connection) == UNKNOWN:
            await asyncio.sleep(KNOWN_SECONDS)
        was_small = 0 < connection.last_bytes < LARGE_BYTES
        if not was_small and UNKNOWN < self._ahead(connection) < BEGUN_BYTES:  # it may be of any size
            await asyncio.sleep(LOOK_SECONDS)
        return UNKNOWN < self._ahead(connection) < LARGE_BYTES

    def _ahead(self, connection: Connection) -> int:
        """What has come of messages of a connection that are not complete; `UNKNOWN` if the connection is new."""
        ahead = ahead_of(connection, self._sockets)
        return UNKNOWN if ahead is None else ahead

    async def _wait(self, connection: Connection, told_bytes: int | None = None) -> None:
        beginning = _Beginning(connection, told_bytes)
        if not self._waiting and self._needed(beginning) <= self._room_now:
            return
        self._waiting.setdefault(connection, deque()).append(beginning)
        self._look_later()
        try:
            async with asyncio.timeout(MOST_SECONDS):
                await beginning.turn
        except TimeoutError:
            problem = f"{self._admission.inflight_bytes} of at most {self._admission.max_bytes} bytes are in flight"
            raise OverloadedError(f"{problem}, and a large message waited long for room", RETRY_MILLISECONDS) from None
        finally:
            if beginning.turn.done() and not beginning.turn.cancelled():
                self._certain.remove(connection)
            else:
                self._leave_queue(beginning)

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for queue in self._waiting.values():
            queue[0].look(self._ahead(queue[0].connection))
        self._pass_on()
        if self._waiting:
            first = next(iter(self._waiting.values()))[0]
            self._admission.end_silent(math.ceil(max(0, self._needed(first) - self._room_now)))
            self._look_later()

    def _pass_on(self) -> None:
        """Gives a turn to all for whose messages there is room, in order. Larger ones do not hold up smaller ones."""
        room = self._room_now if self._waiting else 0
        for queue in list(self._waiting.values()):
            fits = next((each for each in queue if self._needed(each) <= room and not each.turn.done()), None)
            if fits is not None:
                self._leave_queue(fits)
                self._certain.append(fits.connection)
                fits.turn.set_result(None)
                room = self._room_now

    def _leave_queue(self, beginning: "_Beginning") -> None:
        """Takes one out. Its connection is last then."""
        queue = self._waiting.pop(beginning.connection)
        queue.remove(beginning)
        if queue:
            self._waiting[beginning.connection] = queue


class _Beginning:
    """What has come of a message that waits.

    Attributes:
        connection: Over which it comes.
        told_bytes: Its size, if its caller tells it and can be believed.
        turn: Is done when the message may be taken in.
        ahead: Bytes that had come at the last look.
        rests: Whether none came since the look before.
    """

    def __init__(self, connection: Connection, told_bytes: int | None) -> None:
        self.connection = connection
        self.told_bytes = told_bytes
        self.turn = asyncio.get_running_loop().create_future()
        self.ahead = UNKNOWN
        self.rests = False

    def look(self, ahead: int) -> None:
        self.rests, self.ahead = ahead == self.ahead != UNKNOWN, ahead
