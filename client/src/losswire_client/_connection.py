"""The wire to use now: one of this process and event loop, opened with the certificates as they are now."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from losswire_client._endpoint import Endpoint
from losswire_client._errors import closed
from losswire_client._fork import PROCESS

WireT = TypeVar("WireT")


class Connection(Generic[WireT]):
    """Opens wires as they are needed, the first with the first call. May be used from any thread.

    Args:
        endpoint: Where to.
        open_wire: `Wire` or `AioWire`.
        place: Tells what a wire may not leave, as its event loop.
    """

    def __init__(
        self, endpoint: Endpoint, open_wire: Callable[[Endpoint], WireT], place: Callable[[], object] = lambda: None
    ) -> None:
        self._endpoint = endpoint
        self._open_wire = open_wire
        self._place = place
        self._lock = threading.Lock()
        self._open: tuple[object, WireT] | None = None  # a wire, and its place
        self._closed = False
        self._left: object = None

    def wire(self) -> WireT:
        """The wire for a call. One that it replaces lasts until the calls under way have ended.

        Raises:
            LosswireError: The connection is closed, or cannot be in this process.
        """
        place, opened = self._place(), self._open
        if opened is None or opened[0] is not place or self._endpoint.has_changed():
            opened = self._renewed(opened, place)
        return opened[1]

    @property
    def is_closed(self) -> bool:
        return self._closed

    def renew(self) -> None:
        """Starts anew in the child of a fork, where what was opened is not to be touched."""
        self._left = self._open
        self._lock = threading.Lock()
        self._open = None

    def close(self) -> WireT | None:
        """Opens no more, and returns the wire that is to be closed."""
        with self._lock:
            self._closed = True
            opened, self._open = self._open, None
        return opened[1] if opened else None

    def _renewed(self, known: tuple[object, WireT] | None, place: object) -> tuple[object, WireT]:
        with self._lock:
            if self._closed:
                raise closed()
            PROCESS.check_grpc()
            if self._open is known or self._open is None:  # else another thread has been here
                with PROCESS.call():
                    self._open = place, self._open_wire(self._endpoint)
            return self._open
