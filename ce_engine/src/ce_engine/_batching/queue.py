"""The queue of slabs: fair between callers, and given out launch by launch."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ce_engine._batching.entries import Alike, Entry, Line
from ce_engine._batching.turns import Turns
from ce_engine._errors import EngineClosedError, QueueFullError
from ce_engine._kernel_rows import Kind


@dataclass(frozen=True)
class LaunchLimits:
    """How much may be in one launch. A slab of more than a quarter of the bytes is launched alone.

    Slabs with a head may have a tile's rows together.

    Attributes:
        rows: Of all slabs together.
        bytes: Of their inputs.
        delay_seconds: How long a launch may wait to be filled up.
    """

    rows: int
    bytes: int
    delay_seconds: float


class FairQueue:
    """Callers take turns by their work: a slab leads a launch, which is filled with one slab of each caller in turn.

    A caller's waiting rows may be no more than are left free. So a caller that floods the queue fills half of it, a
    second caller fills a quarter, and so on: there is always room for the next.
    """

    def __init__(self, limits: LaunchLimits, max_rows: int, has_other_work: Callable[[], bool] = lambda: False) -> None:
        self._limits = limits
        self._has_other_work = has_other_work
        self._max_rows = max_rows
        self._rows = self._bytes = 0
        self._pressing = 0  # entries for which no launch waits
        self._lines: dict[Hashable, Line] = {}
        self._turns = Turns()
        self._kinds: dict[Kind, Alike] = {}
        self._entries: OrderedDict[Entry, None] = OrderedDict()  # as they came
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

    def put(self, *entries: Entry) -> None:
        """Queues an entry, or all parts of one slab.

        Raises:
            EngineClosedError: The queue takes no more entries.
            QueueFullError: There is no room.
        """
        with self._changed:
            if self._closed:
                raise EngineClosedError("the engine was closed")
            self._forget_discarded()
            self._check_room(entries)
            for entry in entries:
                self._add(entry)
            self._changed.notify(len(entries))

    def _check_room(self, entries: Sequence[Entry]) -> None:
        # A slab without rows counts as one row. A large one counts as half the queue at most, so that others have room.
        rows = sum(entry.rows for entry in entries)
        count, free = max(1, min(rows, self._max_rows // 2)), self._max_rows - self._rows
        line = self._lines.get(entries[0].caller)
        held = 0 if line is None else line.rows
        if self._rows and held + count > free:
            raise QueueFullError(
                f"{self._rows} rows wait, {held} of them this caller's: no room for {rows} more, "
                f"since a caller gets no more of the {self._max_rows} than are left free"
            )
        for entry in entries:
            entry.size = count if len(entries) == 1 else min(entry.rows, count)
            count -= entry.size

    def discard(self, entry: Entry) -> None:
        """Removes an entry that was cancelled, if it still waits: now, or before the next operation on the queue.

        Never waits for the lock: a garbage collection while it is held may have led here. The slab is freed anyway.
        """
        entry.drop()
        self._discarded.append(entry)
        if self._lock.acquire(blocking=False):
            try:
                self._forget_discarded()
            finally:
                self._lock.release()

    def _forget_discarded(self) -> None:
        while self._discarded:
            entry = self._discarded.popleft()
            if entry in self._entries:
                self._remove(entry, work=0)
                if entry.whole is None:
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
            return list(self._entries)

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
        if not self._entries:
            return None
        full = self._rows >= self._limits.rows or self._bytes >= self._limits.bytes
        if self._closed or full or self._pressing:
            return 0
        oldest = next(iter(self._entries))
        return max(0.0, oldest.arrival + self._limits.delay_seconds - time.monotonic())

    def _merges(self, entry: Entry) -> bool:
        if entry.tile_rows:
            return entry.whole is None and entry.rows < min(entry.tile_rows, self._limits.rows)
        return entry.rows < self._limits.rows and 4 * entry.nbytes <= self._limits.bytes

    def _is_too_much(self, leader: Entry, rows: int, nbytes: int) -> bool:
        """For a launch. Slabs with a head fill a tile, whatever their bytes."""
        if leader.tile_rows:
            return rows > min(leader.tile_rows, self._limits.rows)
        return rows > self._limits.rows or nbytes > self._limits.bytes

    def _presses(self, entry: Entry) -> bool:
        """Whether no launch waits while this entry does: it is launched alone, or soon too late."""
        is_soon = entry.deadline is not None and entry.deadline < entry.arrival + 2 * self._limits.delay_seconds
        return is_soon or not self._merges(entry)

    def _next_launch(self) -> list[Entry]:
        line = self._turns.first()
        leader = line.first()
        entries = [leader]
        self._remove(leader, leader.work)
        if line.kinds:
            self._end_turn(line, leader.alike)
        if self._merges(leader):
            rows, nbytes = leader.rows, leader.nbytes
            for entry in self._companions(leader.alike):
                rows, nbytes = rows + entry.rows, nbytes + entry.nbytes
                if self._is_too_much(leader, rows, nbytes):
                    break
                entries.append(entry)
                self._remove(entry, entry.work)
        return entries

    def _end_turn(self, line: Line, alike: Alike) -> None:
        """Has other kinds of this caller, and other callers with slabs of this kind, come first."""
        if alike in line.kinds:
            alike.lines.move_to_end(line)
            line.kinds.move_to_end(alike)
            self._turns.rank(line)

    def _companions(self, alike: Alike) -> Iterator[Entry]:
        """Entries of a kind, one of each caller in turn. Remove each before the next."""
        lines, passed = alike.lines, 0
        while passed < len(lines):
            line = next(iter(lines))
            entry = line.first_of(alike)
            if self._merges(entry):
                passed = 0
                yield entry
            else:
                passed += 1
            if line in lines:
                lines.move_to_end(line)

    def _add(self, entry: Entry) -> None:
        entry.alike = self._alike(entry.kind)
        line = self._lines.get(entry.caller)
        if line is None:
            line = self._lines[entry.caller] = self._turns.open(entry.caller)
            line.add(entry)
            self._turns.rank(line)
        else:
            line.add(entry)
        self._entries[entry] = None
        self._rows += entry.size
        self._bytes += entry.nbytes
        self._pressing += self._presses(entry)

    def _alike(self, kind: Kind) -> Alike:
        alike = self._kinds.get(kind)
        if alike is None:
            alike = self._kinds[kind] = Alike(kind)
        return alike

    def _remove(self, entry: Entry, work: int = 0) -> None:
        """Removes an entry, for which so much work is done."""
        del self._entries[entry]
        self._rows -= entry.size
        self._bytes -= entry.nbytes
        self._pressing -= self._presses(entry)
        line = self._lines[entry.caller]
        line.remove(entry)
        if not entry.alike.lines:
            del self._kinds[entry.alike.kind]
        if work:
            self._turns.charge(line, work)
        if line.kinds:
            self._turns.rank(line)
        else:
            del self._lines[entry.caller]
            self._turns.close(line)


def _tell_of_cancellation(future: "Future[Any]") -> None:
    """Has `concurrent.futures.wait` and `as_completed` see it, as whoever takes a future from a queue must."""
    with suppress(RuntimeError):  # its owner has
        future.set_running_or_notify_cancel()
