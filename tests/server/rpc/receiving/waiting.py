"""Calls that wait, connections and a clock, as tests want them."""

from prometheus_client import CollectorRegistry

from losswire_server.metrics.connections import EndReason
from losswire_server.process.sockets import Endpoint
from losswire_server.rpc.receiving.connections import Connection
from tests.present import present

MIB = 2**20


class Clock:
    """A clock that goes on when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeSockets:
    """What the kernel tells of connections.

    Attributes:
        received: Bytes that came, by endpoint.
        ended: Connections that were ended.
    """

    def __init__(self) -> None:
        self.received: dict[Endpoint, int] = {}
        self.ended: list[Endpoint] = []
        self.looks = 0

    def look(self) -> set[Endpoint]:
        self.looks += 1
        return set(self.received)

    def received_bytes(self, peer: Endpoint) -> int | None:
        return self.received.get(peer)

    def end(self, peer: Endpoint) -> bool:
        self.ended.append(peer)
        return self.received.pop(peer, None) is not None


class FakeCall:
    """A call that waits for its message.

    Attributes:
        refusals: The errors that it was refused with.
        told_bytes: What it tells of its message's size.
    """

    told_bytes: int | None = None

    def __init__(self, connection: Connection, *, is_stream: bool = False) -> None:
        self.connection = connection
        self.is_stream = is_stream
        self.refusals: list[Exception] = []

    def refuse(self, error: Exception) -> None:
        self.refusals.append(error)


def ended_by(registry: CollectorRegistry, reason: EndReason) -> float:
    """How many connections were ended for a reason, as the metrics have it."""
    return present(registry.get_sample_value("losswire_connections_ended_total", {"reason": reason}))
