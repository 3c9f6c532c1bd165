"""The slabs of one stream that are evaluated, or wait for the engine."""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, NamedTuple

from losswire_server.calls.evaluation import all_done

MAX_SLABS = 16
MAX_BYTES = 4 * 2**20  # a few slabs of the usual size, for a few workers


class InFlight:
    """Slabs in row order.

    Attributes:
        bytes: Size of their messages.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._slabs: deque[_Slab] = deque()

    def __bool__(self) -> bool:
        return bool(self._slabs)

    def has_room(self, message_bytes: int) -> bool:
        return len(self._slabs) < MAX_SLABS and self.bytes + message_bytes <= MAX_BYTES

    def add(self, future: "Future[Any]", message_bytes: int) -> None:
        """Adds a slab by the future of what comes of it, and by the size of its message."""
        self._slabs.append(_Slab(future, message_bytes, all_done([future])))
        self.bytes += message_bytes

    @property
    def oldest(self) -> "asyncio.Future[None]":
        """Is done when the oldest slab is."""
        return self._slabs[0].done

    def take_oldest(self) -> "tuple[Future[Any], int]":
        """What `add` was given."""
        future, message_bytes, _ = self._slabs.popleft()
        self.bytes -= message_bytes
        return future, message_bytes

    def clear(self) -> None:
        self._slabs.clear()


class _Slab(NamedTuple):
    future: "Future[Any]"
    message_bytes: int
    done: "asyncio.Future[None]"
