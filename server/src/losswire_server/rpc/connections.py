"""The connections of callers, and what has arrived of messages that are not complete.

gRPC hands over complete messages only. Until then what has arrived lies in its buffers: up to the size of a message
for each call, of any number of callers. So the kernel's count of a connection's bytes is compared to what was handed
over.
"""

from collections.abc import Iterator

from losswire_server.calls.admission import Admission, Reservation
from losswire_server.calls.limits import Account, Accounts, CallerLimits
from losswire_server.process.sockets import Endpoint, endpoint_of

FRAME_BYTES = 2**14  # HTTP/2's usual frames, each behind a header of 9 bytes
MESSAGE_OVERHEAD_BYTES = 128  # of a call's headers, and of a message's frame and prefix, about
SETTLE_CALLS = 256  # after so many messages, what was estimated is replaced with what was counted
LEAST_BYTES = 2**17  # less than that is not held, as no small message is


class Connection:
    """One connection of a caller's. Use it in the event loop.

    Attributes:
        peer: The other end, as gRPC names it.
        endpoint: The same, if it is on a network.
        receiving: How many of its calls wait for a message.
        held: The bytes of unfinished messages.
    """

    def __init__(self, peer: str, held: Reservation) -> None:
        self.peer = peer
        self.endpoint: Endpoint | None = endpoint_of(peer)
        self.receiving = 0
        self.held = held
        self._accounted = 0  # bytes that came, and are not of unfinished messages
        self._unsettled = 0

    def belongs_to(self, account: Account) -> None:
        """Says whose bytes come. While some are held, they stay those of the account that they were counted for."""
        if not self.held.size:
            self.held.account = account

    def came(self, size: int) -> None:
        """Notes that a message is complete. Who takes it holds its bytes from now on."""
        self._accounted += size + 9 * (size // FRAME_BYTES) + MESSAGE_OVERHEAD_BYTES
        self._unsettled += 1
        if self.held.size > size:
            self.held.hold(self.held.size - size)
        elif self.held.size:
            self.held.close()

    def hold(self, unfinished: int) -> bool:
        """Holds the bytes of unfinished messages. Returns whether more have come.

        Raises:
            Exception: See `Reservation.resize`.
        """
        before = self.held.size
        if unfinished:
            self.held.resize(unfinished)
        elif before:
            self.held.close()
        return unfinished > before

    def unfinished_bytes(self, received: int) -> int:
        """What has arrived of messages that are not complete, from the count of all bytes that came."""
        if received < self._accounted and not self.receiving:  # another connection of the same endpoint
            self._accounted = received
        unfinished = received - self._accounted
        return unfinished if unfinished >= LEAST_BYTES else 0

    @property
    def is_unsettled(self) -> bool:
        return self._unsettled >= SETTLE_CALLS and not self.receiving

    def settle(self, received: int) -> None:
        """Takes all bytes that came for accounted, while no message is on its way."""
        self._accounted, self._unsettled = received, 0


class Connections:
    """All connections with calls, by their peers. Use it in the event loop."""

    def __init__(self, admission: Admission, limits: CallerLimits) -> None:
        self.accounts = Accounts(limits)
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
            connection = self._connections[peer] = Connection(peer, held)
        return connection

    def forget(self, connected: set[Endpoint]) -> None:
        """Forgets connections that are not among those that there are."""
        for connection in self:
            if connection.endpoint is not None and connection.endpoint not in connected and not connection.receiving:
                connection.held.close()
                del self._connections[connection.peer]
