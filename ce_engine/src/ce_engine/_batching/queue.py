"""The queue of slabs: fair between callers, and given out launch by launch."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ce_engine._errors import EngineClosedError, QueueFullError
from ce_engine._slab import Kind, Slab


@dataclass(frozen=True)
class LaunchLimits:
    """How much may be in one launch. A slab of more than a quarter of the bytes is launched alone.

    Attributes:
        rows: Of all slabs together.
        bytes: Of their inputs.
        delay_seconds: How long a launch may wait to be filled up.
    """

    rows: int
    bytes: int
    delay_seconds: float


@dataclass(eq=False)
class Entry:
    """A slab that waits. Times are by ``time.monotonic``.

    Attributes:
        then: Makes the future's value from the slab's result and the seconds that it took.
        size: Rows that it counts for in its queue.
    """

    slab: Slab
    caller: Hashable
    deadline: float | None
    then: Callable[[Any, float], Any] | None = None
    future: "Future[Any]" = field(default_factory=Future)
    arrival: float = field(default_factory=time.monotonic)
    size: int = 0


class _Caller:
    """The waiting entries of one caller: kinds in the order of their turns, and each kind's entries as they came."""

    def __init__(self) -> None:
        self.kinds: OrderedDict[Kind, OrderedDict[Entry, None]] = OrderedDict()
        self.rows = 0

    def add(self, entry: Entry) -> None:
        self.kinds.setdefault(entry.slab.kind, OrderedDict())[entry] = None
        self.rows += entry.size

    def remove(self, entry: Entry) -> None:
        entries = self.kinds[entry.slab.kind]
        del entries[entry]
        self.rows -= entry.size
        if not entries:
            del self.kinds[entry.slab.kind]

    def first(self, kind: Kind | None = None) -> Entry | None:
        """The oldest entry of a kind; if none is given, of the kind whose turn it is."""
        entries = next(iter(self.kinds.values())) if kind is None else self.kinds.get(kind)
        return next(iter(entries)) if entries else None


class FairQueue:
    """Callers take turns: the next caller's slab leads a launch, which is filled with one slab of each caller in turn.

    A caller's waiting rows may be no more than are left free. So a caller that floods the queue fills half of it, a
    second caller fills a quarter, and so on: there is always room for the next.
    """

    def __init__(self, limits: LaunchLimits, max_rows: int, has_other_work: Callable[[], bool] = lambda: False) -> None:
        self._limits = limits
        self._has_other_work = has_other_work
        self._max_rows = max_rows
        self._rows = self._bytes = 0
        self._pressing = 0  # entries for which no launch waits
        self._callers: OrderedDict[Hashable, _Caller] = OrderedDict()
        self._discarded: deque[Entry] = deque()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._closed = False

    @property
    def rows(self) -> int:
        """Rows that wait."""
        with self._lock:
            self._forget_discarded()
            return self._rows

    def put(self, entry: Entry) -> None:
        """Queues an entry.

        Raises:
            EngineClosedError: The queue takes no more entries.
            QueueFullError: There is no room.
        """
        with self._changed:
            if self._closed:
                raise EngineClosedError("the engine was closed")
            self._forget_discarded()
            self._check_room(entry)
            self._callers.setdefault(entry.caller, _Caller()).add(entry)
            self._pressing += self._presses(entry)
            self._rows += entry.size
            self._bytes += entry.slab.nbytes
            self._changed.notify()

    def _check_room(self, entry: Entry) -> None:
        # A slab without rows counts as one row. A large one counts as half the queue at most, so that others have room.
        entry.size = max(1, min(entry.slab.row_count, self._max_rows // 2))
        count, free = entry.size, self._max_rows - self._rows
        caller = self._callers.get(entry.caller)
        held = 0 if caller is None else caller.rows
        if self._rows and held + count > free:
            raise QueueFullError(
                f"{self._rows} rows wait, {held} of them this caller's: no room for {entry.slab.row_count} more, "
                f"since a caller gets no more of the {self._max_rows} than are left free"
            )

    def discard(self, entry: Entry) -> None:
        """Removes an entry that was cancelled, if it still waits: now, or before the next operation on the queue.

        Never waits for the lock: a garbage collection in code that holds it may have led here.
        """
        self._discarded.append(entry)
        if self._lock.acquire(blocking=False):
            try:
                self._forget_discarded()
            finally:
                self._lock.release()

    def _forget_discarded(self) -> None:
        while self._discarded:
            entry = self._discarded.popleft()
            caller = self._callers.get(entry.caller)
            if caller is not None and entry in caller.kinds.get(entry.slab.kind, ()):
                self._remove(entry)
                _tell_of_cancellation(entry.future)

    def take(self, *, wait: bool = True) -> list[Entry] | None:
        """The entries of the next launch, or None after the last.

        The list is empty if none wait and the caller does not want to wait, or has other work.
        """
        with self._changed:
            while True:
                self._forget_discarded()
                pause = self._pause()
                if pause == 0:
                    return self._next_launch()
                if pause is None and self._closed:
                    return None
                if not wait or self._has_other_work():
                    return []
                self._changed.wait(pause)

    def waiting(self) -> list[Entry]:
        """All entries that wait."""
        with self._lock:
            self._forget_discarded()
            return [
                entry for caller in self._callers.values() for entries in caller.kinds.values() for entry in entries
            ]

    def wake(self) -> None:
        """Has threads that wait for entries see that there is other work."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Takes no more entries; waiting entries are still given out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _pause(self) -> float | None:
        """Seconds until the next launch is given out; None if nothing waits."""
        if not self._callers:
            return None
        leader = self._leader()
        full = self._rows >= self._limits.rows or self._bytes >= self._limits.bytes
        if self._closed or full or self._pressing:
            return 0
        return max(0.0, leader.arrival + self._limits.delay_seconds - time.monotonic())

    def _leader(self) -> Entry:
        leader = next(iter(self._callers.values())).first()
        if leader is None:
            raise RuntimeError("a caller without entries was kept")
        return leader

    def _merges(self, entry: Entry) -> bool:
        return entry.slab.row_count < self._limits.rows and 4 * entry.slab.nbytes <= self._limits.bytes

    def _presses(self, entry: Entry) -> bool:
        """Whether no launch waits while this entry does: it is launched alone, or soon too late."""
        is_soon = entry.deadline is not None and entry.deadline < entry.arrival + 2 * self._limits.delay_seconds
        return is_soon or not self._merges(entry)

    def _next_launch(self) -> list[Entry]:
        leader = self._leader()
        entries = [leader]
        self._remove(leader)
        self._end_turn(leader)
        if self._merges(leader):
            rows, nbytes = leader.slab.row_count, leader.slab.nbytes
            for entry in self._companions(leader):
                rows, nbytes = rows + entry.slab.row_count, nbytes + entry.slab.nbytes
                if rows > self._limits.rows or nbytes > self._limits.bytes:
                    break
                entries.append(entry)
                self._remove(entry)
        return entries

    def _companions(self, leader: Entry) -> Iterator[Entry]:
        """Entries of the leader's kind, one of each caller in turn. Remove each before the next."""
        kind = leader.slab.kind
        found = True
        while found:
            found = False
            for caller in list(self._callers.values()):
                entry = caller.first(kind) if caller.kinds else None
                if entry is not None and self._merges(entry):
                    found = True
                    yield entry

    def _end_turn(self, leader: Entry) -> None:
        caller = self._callers.get(leader.caller)
        if caller is not None:
            self._callers.move_to_end(leader.caller)
            if leader.slab.kind in caller.kinds:
                caller.kinds.move_to_end(leader.slab.kind)

    def _remove(self, entry: Entry) -> None:
        caller = self._callers[entry.caller]
        caller.remove(entry)
        self._rows -= entry.size
        self._bytes -= entry.slab.nbytes
        self._pressing -= self._presses(entry)
        if not caller.kinds:
            del self._callers[entry.caller]


def _tell_of_cancellation(future: "Future[Any]") -> None:
    """Has `concurrent.futures.wait` and `as_completed` see it, as whoever takes a future from a queue must."""
    with suppress(RuntimeError):  # its owner has
        future.set_running_or_notify_cancel()
