"""The wire to use now: one of this process and event loop, opened with the certificates as they are now."""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from losswire_client._errors import closed
from losswire_client._wires.endpoint import Endpoint
from losswire_client._wires.fork import PROCESS

CLOSING_SECONDS = 2.0  # that each step of closing may take, which takes milliseconds as a rule


class AnyWire(Protocol):
    is_broken: bool  # whether calls may wait there for ever, and another is to be opened


WireT = TypeVar("WireT", bound=AnyWire)


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
        self._broken: list[WireT] = []
        self._closed = False
        self._left: object = None

    def wire(self) -> WireT:
        """The wire for a call. One that it replaces lasts until the calls under way have ended.

        Raises:
            LosswireError: The connection is closed, or cannot be in this process.
        """
        place, opened = self._place(), self._open
        if opened is None or opened[0] is not place or opened[1].is_broken or self._endpoint.has_changed():
            opened = self._renewed(opened, place)
        return opened[1]

    @property
    def is_closed(self) -> bool:
        return self._closed

    def renew(self) -> None:
        """Starts anew in the child of a fork, where what was opened is not to be touched."""
        self._left = self._open, self._broken
        self._lock = threading.Lock()
        self._broken = []
        self._open = None

    def close(self) -> list[WireT]:
        """Opens no more, and returns the wires that are to be closed."""
        self._closed = True
        if not self._lock.acquire(timeout=CLOSING_SECONDS):
            return []  # whoever looks up names for a new wire finds the connection closed when it has them
        opened, self._open = self._open, None
        broken, self._broken = self._broken, []
        self._lock.release()
        return [*broken, opened[1]] if opened else broken

    def _renewed(self, known: tuple[object, WireT] | None, place: object) -> tuple[object, WireT]:
        with self._lock:
            if self._closed:
                raise closed()
            PROCESS.check_grpc()
            if self._open is known or self._open is None:  # else another thread has been here
                with PROCESS.call():
                    opened = place, self._open_wire(self._endpoint)
                if self._closed:
                    raise closed()
                if known and known[1].is_broken:
                    self._broken.append(known[1])
                self._open = opened
            return self._open
