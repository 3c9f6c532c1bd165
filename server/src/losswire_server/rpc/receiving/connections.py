"""The connections of callers, and what has arrived of messages that are not complete.

gRPC hands over complete messages only. Until then what has arrived lies in its buffers: up to the size of a message
for each call, of any number of callers. So the kernel's count of a connection's bytes is compared to what was handed
over.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from losswire_server.calls.admission import Admission, Reservation
from losswire_server.calls.limits import RETRY_MILLISECONDS, Account, Accounts, CallerLimits, Rate
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.process.sockets import Endpoint, Sockets, endpoint_of
from losswire_server.settings.sizes import MOST_LOOKAHEAD_BYTES

# What surrounds messages is estimated, rather too high: that is noticed, since more cannot be complete than came.
FRAME_BYTES = 2**12  # of HTTP/2, each behind a header of 9 bytes; most callers fill frames of four times that
MESSAGE_OVERHEAD_BYTES = 128  # of a call's headers, and of a message's frame and prefix
SETTLE_CALLS = 256  # after so many messages, what was estimated is replaced with what was counted
LEAST_BYTES = 2**17  # less than that is not held, as no small message is
SLAB_BYTES = 2**22  # of a usual slab; larger ones are counted as other messages are, and take turns with them
# A connection is fast while so many bytes come in so many seconds. A slower caller must not hold up others.
FAST_BYTES, FAST_SECONDS = 2**21, 0.05


class Connection:
    """One connection of a caller's. It belongs to the event loop, but what has arrived is counted in a thread.

    Attributes:
        peer: The other end, as gRPC names it.
        endpoint: The same, if it is on a network.
        receiving: How many of its calls messages may arrive for.
        held_back: How many of these wait for their turn: gRPC takes only the beginnings of their messages.
        unfinished: What has arrived of messages that are not complete, at last count.
        held: These bytes, and what grpcio needs to take them over.
        last_bytes: Size of the last message of a call that had one; 0 before the first.
        lost_until: When the last bytes probably have come that belong to no message any more; 0 if none are counted.
        resets: Calls that it left, if it left any: see `Resets`.
        lookahead_bytes: What gRPC takes of a call's messages before they are read.
        stream_bytes: The same of a stream, and a usual slab that it takes in.
    """

    def __init__(
        self,
        peer: str,
        held: Reservation,
        max_message_bytes: int = 2**31,
        lookahead_bytes: int = MOST_LOOKAHEAD_BYTES,
    ) -> None:
        self.peer = peer
        self.lookahead_bytes = lookahead_bytes
        self.stream_bytes = lookahead_bytes + SLAB_BYTES
        self._most_bytes = max_message_bytes + lookahead_bytes  # that may come of a message and of what follows
        self.endpoint: Endpoint | None = endpoint_of(peer)
        self.receiving = self.held_back = self.unfinished = 0
        self.held = held
        self.last_bytes = 0
        self.lost_until = 0.0
        self.resets: Rate | None = None
        self._complete = 0  # bytes of complete messages and of what surrounds them, as estimated in the event loop
        self._excess = 0  # how much of that estimate was found to be too high, by the thread that counts
        self._received = 0
        self._unsettled = 0
        self._fast_from, self._fast_until = 0, -math.inf
        self._copies = 1  # how many times what came is held
        self._lock = threading.Lock()  # of `held`

    def belongs_to(self, account: Account) -> None:
        """Says whose bytes come. While some are held, they stay those of the account that they were counted for."""
        if not self.held.size:
            self.held.account = account

    def begin_receiving(self) -> None:
        self.receiving += 1

    def end_receiving(self) -> None:
        """One call less. Without any, no message is on its way."""
        self.receiving -= 1
        if not self.receiving:
            with self._lock:
                if self.held.size:
                    self.held.close()

    def ahead(self, received: int) -> int:
        """The bytes of messages that are not complete, if so many ever came over the connection."""
        return max(0, received - (self._complete - self._excess))

    def begin_fast(self, now: float) -> None:
        """Takes a message for one that comes fast, until it turns out not to."""
        self._fast_until = now + FAST_SECONDS

    def is_fast(self, now: float) -> bool:
        """Whether much of a large message has come lately, as was counted."""
        return now < self._fast_until

    @property
    def is_held_back(self) -> bool:
        """Whether all of its calls wait for their turn."""
        return self.held_back >= self.receiving > 0

    def came(self, size: int) -> None:
        """Notes that a message is complete. Who takes it holds its bytes from now on."""
        self._complete += size + 9 * (size // FRAME_BYTES) + MESSAGE_OVERHEAD_BYTES
        self._unsettled += 1
        if self.held.size:
            with self._lock:  # all copies: else a call beside which others come might never fit
                self.held.hold(max(0, self.held.size - self._copies * size))

    def lose(self, size: int) -> None:
        """Notes that so many of the bytes that came belong to no message."""
        self._excess -= size

    def count(self, received_bytes: Callable[[], int | None], now: float = 0.0) -> bool:
        """Counts what arrived of messages that are not complete.

        Args:
            received_bytes: Tells how many bytes ever came over the connection; None if there is no such connection.
            now: In seconds.

        Returns:
            Whether there is.
        """
        complete = self._complete  # before the kernel is asked, so that all of it has come by then
        received = received_bytes()
        if received is None:
            return False
        if received < self._received:  # another connection of the same endpoint
            self._excess = complete
        self._received = received
        self._excess = max(self._excess, complete - received)
        unfinished = received - (complete - self._excess)
        if received - self._fast_from >= FAST_BYTES:
            self._fast_from, self._fast_until = received, now + FAST_SECONDS
        unfinished = min(unfinished, self.receiving * self._most_bytes)  # more belongs to messages that nobody takes
        self.unfinished = unfinished if unfinished >= LEAST_BYTES else 0
        return True

    def hold(self, copies: int, *, whether_it_fits: bool) -> bool:
        """Holds what was counted, so many times. Returns whether more has come.

        Args:
            copies: How many times.
            whether_it_fits: Whether to raise an error if it does not.

        Raises:
            OverloadedError: It does not fit now, or never all at once, though each message may fit.
            TooLargeError: The only message can never fit.
        """
        with self._lock:
            self._copies = copies
            before, size = self.held.size, self._needed(copies)
            if not size:
                if before:
                    self.held.close()
            elif whether_it_fits:
                with self._retryable():
                    self.held.resize(size)
            else:
                self.held.hold(size)
        return size > before

    def check_fits(self, size: int) -> None:
        """Checks whether so many bytes more would fit.

        Raises:
            OverloadedError: See `hold`.
            TooLargeError: See `hold`.
        """
        with self._retryable():
            self.held.check_fits(self.held.size + size)

    def _needed(self, copies: int) -> int:
        """What was counted, so many times but for the beginnings of messages that are held back."""
        if not self.receiving or not self.unfinished:
            return 0
        beginnings = min(self.held_back * self.lookahead_bytes, self.unfinished)
        return self.unfinished + (copies - 1) * (self.unfinished - beginnings)

    @contextmanager
    def _retryable(self) -> Iterator[None]:
        """Several messages that never fit at once may fit one after the other."""
        try:
            yield
        except TooLargeError as error:
            if self.receiving < 2:
                raise
            raise OverloadedError(str(error), RETRY_MILLISECONDS, "caller_bytes") from error

    def let_go(self) -> None:
        """Holds nothing, for calls that have been refused."""
        with self._lock:
            self.held.close()

    @property
    def is_unsettled(self) -> bool:
        return self._unsettled >= SETTLE_CALLS and not self.receiving

    def settle(self, received_bytes: Callable[[], int | None]) -> None:
        """Takes all that came for complete, while no message is on its way. As for `count`."""
        complete = self._complete
        received = received_bytes()
        if received is not None and not self.receiving:
            self._excess, self._unsettled = complete - received, 0


def ahead_of(connection: Connection, sockets: Sockets) -> int | None:
    """The bytes of messages that are not complete, as the kernel counts now; None if it knows no such connection."""
    received = None if connection.endpoint is None else sockets.received_bytes(connection.endpoint)
    return None if received is None else connection.ahead(received)


class Connections:
    """All connections with calls, by their peers. They are added and forgotten in the event loop."""

    def __init__(
        self,
        admission: Admission,
        limits: CallerLimits,
        max_message_bytes: int = 2**31,
        lookahead_bytes: int = MOST_LOOKAHEAD_BYTES,
    ) -> None:
        self.accounts = Accounts(limits)
        self._sizes = max_message_bytes, lookahead_bytes
        self._admission = admission
        self._connections: dict[str, Connection] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    def of(self, peer: str) -> Connection:
        connection = self._connections.get(peer)
        if connection is None:
            held = self._admission.reservation(self.accounts.of(peer))
            connection = self._connections[peer] = Connection(peer, held, *self._sizes)
        return connection

    def forget(self, connected: set[Endpoint]) -> None:
        """Forgets connections that are not among those that there are, and callers that take nothing."""
        for connection in self:
            if connection.endpoint is not None and connection.endpoint not in connected and not connection.receiving:
                connection.held.close()
                del self._connections[connection.peer]
        self.accounts.forget_idle()
