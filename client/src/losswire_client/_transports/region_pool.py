"""Keeps regions to use them again. A lease costs a call, and fresh pages cost ten times as much as a copy to them."""

import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire_client._deadline import Deadline
from losswire_client._errors import LosswireError, OverloadedError, closed, plain
from losswire_client._transports.region import Held, Region
from losswire_client._transports.region_queue import RegionQueue
from losswire_client._transports.wire import Wire

KEPT_BYTES = 256 * 2**20  # the most that is kept in regions that nobody holds
LEAST_BYTES = 2**20  # the smallest region
WAIT_SECONDS = 5.0  # the most that a call waits for regions of others, but no more than half of its own time
RETURN_SECONDS = 0.05  # after which a result that was not kept has given its region back
FREEING_SECONDS = (0.0, 0.002, 0.01, 0.05)  # pauses until the server has freed a region whose lease was ended


class RegionPool:
    """Gives out regions, and takes them back when nobody holds them. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._regions: dict[str, Region] = {}  # all leased regions, by their id
        self._idle: list[Region] = []
        self._returned: deque[Region] = deque()  # become idle when a thread next has the lock
        self._calls, self._last_call = 0, -math.inf  # how many use regions, and when the last one ended
        self._refusal, self._refused_until = "", -math.inf  # of the server, by time.monotonic
        self._queue = RegionQueue()
        self._closed = False
        self._process = os.getpid()

    async def take(self, sizes: Sequence[int], most: int, wire: Wire, deadline: Deadline) -> list[Held]:
        """Regions of at least those sizes, with arbitrary content: all of them, or none.

        If there are none, this waits for those that calls under way give back.

        Args:
            sizes: In bytes.
            most: How many regions this client may have.
            wire: To the server.
            deadline: Of the call.

        Raises:
            OverloadedError: The server's memory, or that of this client, is used up, and no call gives any back.
            LosswireError: No region can be leased.
        """
        regions = None if self._queue else self._take_idle(sizes)
        if regions is None:
            regions = await self._wait_and_take(sizes, most, wire, deadline)
        return [self._hold(region) for region in regions]

    def begin_call(self) -> None:
        """Notes that a call uses regions, which come back once it ends."""
        with self._lock:
            self._calls += 1

    def end_call(self) -> None:
        with self._lock:
            self._calls -= 1
            self._last_call = time.monotonic()
        self._queue.tell()

    def ask_again(self) -> None:
        """Has the next call ask the server for memory, even if it was refused lately."""
        self._refused_until = -math.inf

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
        self._queue.tell()

    async def _wait_and_take(self, sizes: Sequence[int], most: int, wire: Wire, deadline: Deadline) -> list[Region]:
        patience, taken = Deadline(min(WAIT_SECONDS, deadline.remaining() / 2)), list[Region]()
        try:
            async with self._queue.turn(wire, patience.seconds):
                for nbytes in sizes:
                    taken.append(await self._next(nbytes, most, wire, deadline, patience))
        except BaseException as error:
            self._end_all(taken)  # what is too little for this call may be enough for another client's
            if isinstance(error, TimeoutError) and not isinstance(error, LosswireError):
                raise _overloaded(
                    f"other calls used all shared memory for {plain(patience.seconds)} seconds"
                ) from error
            raise
        return taken

    async def _next(self, nbytes: int, most: int, wire: Wire, deadline: Deadline, patience: Deadline) -> Region:
        """A region for who has the turn: an idle one, or a new one, or one that a call gives back."""
        while True:
            news, waits = (
                self._queue.listen(),
                self._returns() and patience.remaining() > 0,
            )  # first: later ones are news
            if taken := self._take_idle([nbytes]):
                return taken[0]
            try:
                return await self._lease(nbytes, most, wire, deadline)
            except OverloadedError:
                if not waits:
                    raise
            await wire.wait(news, min(RETURN_SECONDS, patience.remaining()))

    def _returns(self) -> bool:
        """Whether calls are about to give regions back."""
        return self._calls > 0 or time.monotonic() < self._last_call + RETURN_SECONDS

    async def _lease(self, nbytes: int, most: int, wire: Wire, deadline: Deadline) -> Region:
        """A new region. If there is no memory for it, the leases of idle ones that are too small or large are ended."""
        size = _rounded(nbytes)
        if not self._idle:
            self._check_refusal()
        with suppress(OverloadedError):
            return await self._lease_now(size, most, wire, deadline)
        if taken := self._take_idle([nbytes]):
            return taken[0]
        for seconds in FREEING_SECONDS if self._end_idle() else ():
            await wire.wait(Future(), seconds)
            with suppress(OverloadedError):
                return await self._lease_now(size, most, wire, deadline)
        return await self._lease_now(size, most, wire, deadline)

    def _check_refusal(self) -> None:
        """Does not ask the server again for as long as it said."""
        seconds = self._refused_until - time.monotonic()
        if seconds > 0:
            raise _overloaded(self._refusal, seconds)

    async def _lease_now(self, size: int, most: int, wire: Wire, deadline: Deadline) -> Region:
        leased = sum(region.is_leased for region in tuple(self._regions.values()))
        if leased >= most:
            raise _overloaded(f"this client has {leased} regions, and may have {most} over its connection")
        try:
            region = await wire.lease(size, deadline)
        except OverloadedError as error:
            self._refusal, self._refused_until = str(error), time.monotonic() + error.retry_seconds
            raise
        with self._lock:
            self._regions[region.region_id] = region
        return region

    def _hold(self, region: Region) -> Held:
        held = Held(region)
        weakref.finalize(held, self._give_back, region).atexit = False
        with self._lock:
            if self._closed:
                raise closed()
        return held

    def _take_idle(self, sizes: Iterable[int]) -> list[Region] | None:
        """Idle regions of at least those sizes; None if not all of them are there."""
        taken = list[Region]()
        with self._lock:
            self._settle()
            for nbytes in sizes:
                fitting = [region for region in reversed(self._idle) if nbytes <= region.size <= 2 * _rounded(nbytes)]
                if not fitting:
                    self._idle += taken
                    return None
                best = min(
                    fitting, key=lambda region: region.size
                )  # of equal sizes the latest: caches may still hold it
                self._idle.remove(best)
                taken.append(best)
        return taken

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
        self._queue.tell()

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
        self._end_all(ended)
        return bool(ended)

    def _end_all(self, regions: Iterable[Region]) -> None:
        with self._lock:
            for region in regions:
                self._end(region)

    def _end(self, region: Region) -> None:
        self._regions.pop(region.region_id, None)
        region.end()


def _overloaded(problem: str, retry_seconds: float = 1.0) -> OverloadedError:
    error = OverloadedError(problem)
    error.retry_seconds = retry_seconds
    return error


def _rounded(nbytes: int) -> int:
    """A size up to an eighth larger, so that arrays of about the same size can use the same region in turn."""
    step: int = 2 ** max(0, nbytes.bit_length() - 4)
    return max(LEAST_BYTES, -(-nbytes // step) * step)
