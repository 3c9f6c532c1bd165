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
        message_bytes: Of their messages.
    """

    def __init__(self) -> None:
        self.message_bytes = 0
        self._slabs: deque[_Slab] = deque()

    def __bool__(self) -> bool:
        return bool(self._slabs)

    def has_room(self, message_bytes: int) -> bool:
        return len(self._slabs) < MAX_SLABS and self.message_bytes + message_bytes <= MAX_BYTES

    @property
    def bytes(self) -> int:
        """Of their messages, and of the results that are there."""
        return self.message_bytes + sum(slab.result_bytes for slab in self._slabs if slab.future.done())

    def add(self, future: "Future[Any]", message_bytes: int, result_bytes: int) -> None:
        """Adds a slab.

        Args:
            future: Of what comes of it.
            message_bytes: Size of its message.
            result_bytes: Size of its results.
        """
        self._slabs.append(_Slab(future, message_bytes, result_bytes, all_done([future])))
        self.message_bytes += message_bytes

    @property
    def oldest(self) -> "asyncio.Future[None]":
        """Is done when the oldest slab is."""
        return self._slabs[0].done

    def take_oldest(self) -> "tuple[Future[Any], int]":
        """The future and the size of the message that `add` was given."""
        slab = self._slabs.popleft()
        self.message_bytes -= slab.message_bytes
        return slab.future, slab.message_bytes

    def clear(self) -> None:
        self._slabs.clear()


class _Slab(NamedTuple):
    future: "Future[Any]"
    message_bytes: int
    result_bytes: int
    done: "asyncio.Future[None]"
