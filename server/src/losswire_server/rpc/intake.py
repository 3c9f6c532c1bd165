"""Lets large messages in one after the other while memory is short.

gRPC takes only the beginning of a message, up to `LOOKAHEAD_BYTES`, until it is read. Then it takes all of it, as fast
as it comes, and grpcio copies it while nothing else runs: of many at a time, more would come than can be refused.
Nobody says how large a message is before all of it is there, so what has come of it tells.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress

from losswire_server.calls.admission import Admission
from losswire_server.calls.limits import RETRY_MILLISECONDS
from losswire_server.errors import OverloadedError
from losswire_server.process.sockets import Sockets
from losswire_server.rpc.arrivals import COPIES, Waiting
from losswire_server.rpc.channel_options import LOOKAHEAD_BYTES
from losswire_server.rpc.connections import Connection

LOOK_SECONDS = 0.01
MOST_SECONDS = 2.0  # for room: then its caller had better try again later
SPARE_SHARE = 16  # of the budget, one part of so many: it stays free, and what takes no more does not count
KNOWN_SECONDS = 0.02  # in which a new connection is found
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
        self._waiting: dict[Connection, deque[asyncio.Future[None]]] = {}  # who had a turn last is last
        self._certain: list[Connection] = []  # that have a turn and do not know it yet, or whose message has just come
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, call: Waiting) -> None:
        """A message is taken in from now on."""
        self._receiving[call] = None

    def end(self, call: Waiting) -> None:
        if call not in self._receiving:
            return
        del self._receiving[call]
        if call.connection.held.size or call.connection.is_fast(self._clock()):  # it may have been large
            self._certain.append(call.connection)
            asyncio.get_running_loop().call_later(0, self._let_go, call.connection)

    def _let_go(self, connection: Connection) -> None:
        """Counts a message no more once the task of its call has run, which holds its bytes from then on."""
        self._certain.remove(connection)
        self._pass_on()

    def takes(self, connection: Connection) -> bool:
        """Whether a message may be taken in at once, however large it and those that are being taken in may be."""
        takes = not self._waiting and self._fits([call.connection for call in self._receiving])
        if takes:
            connection.begin_fast(self._clock())
        return takes

    async def turn(self, connection: Connection) -> None:
        """Waits until a message may be taken in, unless it is small. Connections take turns.

        Raises:
            OverloadedError: It does not fit, or there was no room for long.
            TooLargeError: It can never fit.
        """
        if await self._is_small(connection):
            return
        connection.held.check_fits(COPIES * self._ahead(connection))
        if self._waiting or not self._has_room:
            await self._wait(connection)
        connection.begin_fast(self._clock())

    async def turn_of_slab(self, connection: Connection) -> None:
        """As `turn`, for a message of a stream, which is not refused for want of room: the stream waits by itself."""
        if self._ahead(connection) < LOOKAHEAD_BYTES:
            return
        if self._waiting or not self._has_room:
            with suppress(OverloadedError):
                await self._wait(connection)
        connection.begin_fast(self._clock())

    @property
    def _has_room(self) -> bool:
        """Whether a message of any size fits beside those that come fast."""
        now = self._clock()
        fast = [call.connection for call in self._receiving if call.connection.is_fast(now)]
        return self._fits([*self._certain, *fast])

    def _fits(self, others: Collection[Connection]) -> bool:
        """Whether a message of any size fits beside others, and what is in flight. If nothing is, any has its turn."""
        held = sum(connection.held.size for connection in {*others, *self._waiting})
        others_bytes, spare = self._admission.inflight_bytes - held, self._admission.max_bytes // SPARE_SHARE
        is_alone = not others and others_bytes <= spare
        return is_alone or others_bytes + (len(others) + 1) * self._whole <= self._admission.max_bytes - spare

    async def _is_small(self, connection: Connection) -> bool:
        if connection.endpoint is None:  # not on a network: nothing is known of it
            return True
        if not self._sockets.knows(connection.endpoint):
            await asyncio.sleep(KNOWN_SECONDS)
            if not self._sockets.knows(connection.endpoint):
                return False
        if self._ahead(connection) < BEGUN_BYTES:
            await asyncio.sleep(LOOK_SECONDS)
        return self._ahead(connection) < LARGE_BYTES

    def _ahead(self, connection: Connection) -> int:
        endpoint = connection.endpoint
        received = None if endpoint is None else self._sockets.received_bytes(endpoint)
        return 0 if received is None else connection.ahead(received)

    async def _wait(self, connection: Connection) -> None:
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(connection, deque()).append(waiting)
        self._look_later()
        try:
            async with asyncio.timeout(MOST_SECONDS):
                await waiting
        except TimeoutError:
            problem = f"{self._admission.inflight_bytes} of at most {self._admission.max_bytes} bytes are in flight"
            raise OverloadedError(f"{problem}, and a large message waited long for room", RETRY_MILLISECONDS) from None
        finally:
            if waiting.done() and not waiting.cancelled():
                self._certain.remove(connection)

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        self._pass_on()
        if self._waiting:
            self._look_later()

    def _pass_on(self) -> None:
        """Gives the next one its turn, if there is room."""
        if not self._waiting or not self._has_room:
            return
        connection = next(iter(self._waiting))
        queue = self._waiting.pop(connection)
        waiting = queue.popleft()
        if queue:
            self._waiting[connection] = queue
        if waiting.done():
            self._pass_on()
        else:
            self._certain.append(connection)
            waiting.set_result(None)
