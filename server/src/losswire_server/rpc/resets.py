"""Ends connections whose calls are begun and left at once, over and over: rapid resets.

A call that its caller has left still costs the event loop some tenths of a millisecond, and its caller next to nothing.
gRPC itself sets no limit to how many come in a second, but `max_connection_calls` bounds how many lie in its queue.
"""

import logging

from losswire_server.calls.limits import Rate
from losswire_server.metrics.connections import UNSEEN, ConnectionMetrics
from losswire_server.process.sockets import Endpoint, Sockets
from losswire_server.rpc.receiving.connections import Connection

log = logging.getLogger(__name__)


class Resets:
    """Counts the calls that callers leave. Use it in the event loop.

    Args:
        sockets: The connections as the kernel knows them.
        per_second: The most that one connection may leave, on average over a few seconds; 0 for any number.
        metrics: Of connections that are ended.
    """

    def __init__(self, sockets: Sockets, per_second: float, metrics: ConnectionMetrics = UNSEEN) -> None:
        self._sockets = sockets
        self._per_second = per_second
        self._metrics = metrics

    def count(self, connection: Connection) -> None:
        """Counts a call that its caller has left before it was answered. Too many end the connection."""
        if not self._per_second or connection.endpoint is None:
            return
        if connection.resets is None:
            connection.resets = Rate(self._per_second)
        connection.resets.take(1)
        if connection.resets.wait_seconds():
            connection.resets = None  # what still comes of it, or a new connection of the same port, counts anew
            self._end(connection.peer, connection.endpoint)

    def _end(self, peer: str, endpoint: Endpoint) -> None:
        if self._sockets.end(endpoint) or (endpoint in self._sockets.look() and self._sockets.end(endpoint)):
            self._metrics.count_ended("resets")
            log.warning("connection ended, since it left too many calls", extra={"peer": peer})
