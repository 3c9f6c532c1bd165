"""Callers of one client that find no idle region. They take turns, so that no two of them wait for each other."""

import threading
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress

from losswire_client._transports.wire import Wire


class RegionQueue:
    """Gives turns, the first first. May be used from any thread.

    Who has the turn may hold some regions and wait for more. Those that wait behind it hold none, and those that have
    all they need give them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Future[None]] = deque()  # the first one has the turn
        self._listeners: deque[Future[None]] = deque()

    def __bool__(self) -> bool:
        """Whether anybody has the turn."""
        return bool(self._waiting)

    @asynccontextmanager
    async def turn(self, wire: Wire, seconds: float) -> AsyncIterator[None]:
        """Surrounds a turn.

        Raises:
            TimeoutError: It does not come within so many seconds.
        """
        place = self._join()
        try:
            if not place.done() and not await wire.wait(place, seconds):
                raise TimeoutError
            yield
        finally:
            self._leave(place)

    def listen(self) -> "Future[None]":
        """Is done at the next `tell`."""
        news: Future[None] = Future()
        self._listeners.append(news)
        return news

    def tell(self) -> None:
        """Tells who listens that a region may have come back. Takes no lock: the garbage collector may call this."""
        with suppress(IndexError):
            while True:
                self._listeners.popleft().set_result(None)

    def _join(self) -> "Future[None]":
        place: Future[None] = Future()
        with self._lock:
            self._waiting.append(place)
            self._call_first()
        return place

    def _leave(self, place: "Future[None]") -> None:
        with self._lock:
            self._waiting.remove(place)
            self._call_first()

    def _call_first(self) -> None:
        if self._waiting and not self._waiting[0].done():
            self._waiting[0].set_result(None)
