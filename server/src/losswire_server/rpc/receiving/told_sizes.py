"""The sizes of messages as callers tell them, and whether these can be believed."""

from collections.abc import Collection

from losswire_server.process.sockets import Sockets
from losswire_server.rpc.receiving.arrivals import Arrivals, Waiting
from losswire_server.rpc.receiving.connections import ahead_of

FRAMES_SHARE = 2**8  # of a message, one part of so many is what frames it
CALL_BYTES = 2**10  # of headers and prefixes


class ToldSizes:
    """Believes callers while no more comes over a connection than its calls explain.

    Args:
        arrivals: Know the calls for which messages may arrive.
        receiving: Those of them whose message is taken in.
        sockets: The connections, as the kernel knows them.
        max_message_bytes: That a message may have.
    """

    def __init__(
        self, arrivals: Arrivals, receiving: Collection[Waiting], sockets: Sockets, max_message_bytes: int
    ) -> None:
        self._arrivals = arrivals
        self._receiving = receiving
        self._sockets = sockets
        self._max_message_bytes = max_message_bytes

    def believed(self, call: Waiting) -> int | None:
        """What a caller tells, if it tells anything and can be believed."""
        ahead = None if call.told_bytes is None else ahead_of(call.connection, self._sockets)
        if ahead is None:
            return None
        explained = sum(map(self._explained_bytes, self._arrivals.calls_of(call.connection)))
        return call.told_bytes if ahead <= explained else None

    def _explained_bytes(self, call: Waiting) -> int:
        """How much may have come for a call."""
        if call.is_stream:
            return call.connection.stream_bytes
        if call.told_bytes is not None:
            return call.told_bytes + call.told_bytes // FRAMES_SHARE + CALL_BYTES
        return self._max_message_bytes if call in self._receiving else call.connection.lookahead_bytes
