"""The wire to use now. It belongs to this process and event loop, and was opened with the present certificates."""

import threading
from collections.abc import Callable

from losswire_client._errors import closed
from losswire_client._transports.wire import Wire
from losswire_client._wires.endpoint import Endpoint
from losswire_client._wires.fork import PROCESS

CLOSING_SECONDS = 2.0  # the most that each step of closing may take; it mostly takes milliseconds


class Connection:
    """Opens wires as they are needed, the first with the first call. May be used from any thread.

    Args:
        endpoint: Where the server is.
        open_wire: `GrpcWire` or `AioWire`.
        running_loop: Returns the event loop of the caller, since a wire of ``grpc.aio`` belongs to one loop. Returns
            None for wires that need no loop.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        open_wire: Callable[[Endpoint], Wire],
        running_loop: Callable[[], object] = lambda: None,
    ) -> None:
        self._endpoint = endpoint
        self._open_wire = open_wire
        self._running_loop = running_loop
        self._lock = threading.Lock()
        self._open: tuple[object, Wire] | None = None  # an event loop, and its wire
        self._broken: list[Wire] = []
        self._closed = False
        self._left: object = None

    def wire(self) -> Wire:
        """The wire for a call. A wire that it replaces lasts until the calls under way have ended.

        Raises:
            LosswireError: The connection is closed, or gRPC does not work in this process.
        """
        loop, opened = self._running_loop(), self._open
        if opened is None or opened[0] is not loop or opened[1].is_broken or self._endpoint.has_changed():
            opened = self._renewed(opened, loop)
        return opened[1]

    @property
    def is_closed(self) -> bool:
        return self._closed

    def renew(self) -> None:
        """Starts anew in the child of a fork, and leaves the parent's wires alone."""
        self._left = self._open, self._broken
        self._lock = threading.Lock()
        self._broken = []
        self._open = None

    def close(self) -> list[Wire]:
        """Opens no more wires, and returns the wires that are to be closed."""
        self._closed = True
        if not self._lock.acquire(timeout=CLOSING_SECONDS):
            return []  # a thread looks up names for a new wire, and then finds the connection closed
        opened, self._open = self._open, None
        broken, self._broken = self._broken, []
        self._lock.release()
        return [*broken, opened[1]] if opened else broken

    def _renewed(self, known: tuple[object, Wire] | None, loop: object) -> tuple[object, Wire]:
        with self._lock:
            if self._closed:
                raise closed()
            PROCESS.check_grpc()
            if self._open is known or self._open is None:  # otherwise another thread has opened one
                with PROCESS.call():
                    opened = loop, self._open_wire(self._endpoint)
                if self._closed:
                    raise closed()
                if known and known[1].is_broken:
                    self._broken.append(known[1])
                self._open = opened
            return self._open
