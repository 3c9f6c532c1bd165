"""Keeps regions to use them again. A lease costs a call, and fresh pages cost ten times as much as a copy to them."""

import os
import threading
import weakref
from collections import deque

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire_client._deadline import Deadline
from losswire_client._errors import LosswireError, OverloadedError
from losswire_client._transports.region import Held, Region
from losswire_client._transports.wire import Wire

KEPT_BYTES = 256 * 2**20  # the most that is kept in regions that nobody holds
LEAST_BYTES = 2**20  # the smallest region


class RegionPool:
    """Gives out regions, and takes them back when nobody holds them. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._regions: dict[str, Region] = {}  # all leased regions, by their id
        self._idle: list[Region] = []
        self._returned: deque[Region] = deque()  # become idle when a thread next has the lock
        self._closed = False
        self._process = os.getpid()

    async def take(self, nbytes: int, wire: Wire, deadline: Deadline) -> Held:
        """A region of at least that size, with arbitrary content.

        Raises:
            LosswireError: No region can be leased.
        """
        region = self._take_idle(nbytes) or await self._lease(_rounded(nbytes), wire, deadline)
        held = Held(region)
        weakref.finalize(held, self._give_back, region).atexit = False
        self._register(region)
        return held

    def find(self, array: npt.NDArray[np.generic]) -> v1.SharedMemorySpan | None:
        """Where an array lies in a region whose lease lasts; None if it lies elsewhere."""
        if not array.nbytes:
            return None
        spans = (region.span_of(array) for region in tuple(self._regions.values()) if region.is_leased)
        return next((span for span in spans if span is not None), None)

    def discard(self, held: Held) -> None:
        """Ends the lease of a region that the server may still read or write, so that it is not used again."""
        held.region.lose()
        held.region.end()

    def lose_all(self) -> None:
        """Notes that the server does not know our regions any more."""
        for region in tuple(self._regions.values()):
            region.lose()

    def close(self) -> None:
        """Ends the leases. Arrays keep their memory."""
        with self._lock:
            self._closed = True
        self._end_idle()

    async def _lease(self, size: int, wire: Wire, deadline: Deadline) -> Region:
        try:
            return await wire.lease(size, deadline)
        except OverloadedError:
            if not self._end_idle():
                raise
        return await wire.lease(size, deadline)

    def _register(self, region: Region) -> None:
        with self._lock:
            if self._closed:
                raise LosswireError("this client is closed")
            self._regions[region.region_id] = region

    def _take_idle(self, nbytes: int) -> Region | None:
        with self._lock:
            self._settle()
            fitting = [region for region in reversed(self._idle) if nbytes <= region.size <= 2 * _rounded(nbytes)]
            if not fitting:
                return None
            best = min(fitting, key=lambda region: region.size)  # of equal sizes the latest: caches may still hold it
            self._idle.remove(best)
            return best

    def _give_back(self, region: Region) -> None:
        if os.getpid() != self._process:  # the child of a fork dropped its copy of the array
            return
        self._returned.append(region)
        # Never waits: the garbage collector may call this in the thread that has the lock.
        if self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    def _settle(self) -> None:
        """Keeps the regions that came back, or only the latest ones if all take too much memory."""
        while self._returned:
            self._idle.append(self._returned.popleft())
        kept, room = [], 0 if self._closed else KEPT_BYTES
        for region in reversed(self._idle):
            room -= region.size
            if region.is_leased and room >= 0:
                kept.append(region)
            else:
                self._end(region)
        self._idle[:] = reversed(kept)

    def _end_idle(self) -> bool:
        """Ends the leases of idle regions; returns whether there were any."""
        with self._lock:
            self._settle()
            ended, self._idle = self._idle, []
            for region in ended:
                self._end(region)
        return bool(ended)

    def _end(self, region: Region) -> None:
        self._regions.pop(region.region_id, None)
        region.end()


def _rounded(nbytes: int) -> int:
    """A size up to an eighth larger, so that arrays of about the same size can use the same region in turn."""
    step: int = 2 ** max(0, nbytes.bit_length() - 4)
    return max(LEAST_BYTES, -(-nbytes // step) * step)
