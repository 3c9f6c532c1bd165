"""Whose turn it is: callers get equal shares of the work, whatever the size of their slabs.

This is fair queueing. Time is counted in the work that each caller could have had: a line's first entry starts when the
caller's last one ended, or now if nothing of this caller waited, and ends after its own work. The entry that ends first
is next. So a small slab goes before large ones that would end later, a caller that was idle has saved up nothing, and
an entry that leaves without its turn costs nothing.
"""

import heapq
from collections.abc import Hashable

from ce_engine._batching.entries import Line

LEAST_COMPACTED = 64  # places, before those that no longer count are sorted out


class Turns:
    """The order of lines. Each operation takes the logarithm of their number."""

    def __init__(self) -> None:
        self._now = self._lines = self._ranks = 0
        self._places: list[tuple[int, int, Line]] = []  # a heap; of a line's places only the latest counts
        self._ahead: dict[Hashable, int] = {}  # callers without a line that have had more than their share
        self._ahead_until: list[tuple[int, int, Hashable]] = []  # a heap

    def open(self, caller: Hashable) -> Line:
        """A new line. Rank it when it has an entry."""
        line = Line(caller)
        line.start = max(self._now, self._ahead.pop(caller, 0))
        self._lines += 1
        return line

    def rank(self, line: Line) -> None:
        """Gives a line, whose first entry has changed, its place."""
        self._ranks += 1
        line.rank = self._ranks
        heapq.heappush(self._places, (line.start + line.first().work, line.rank, line))
        if len(self._places) > max(LEAST_COMPACTED, 2 * self._lines):
            self._places = [place for place in self._places if place[1] == place[2].rank]
            heapq.heapify(self._places)

    def first(self) -> Line:
        """The line whose turn it is."""
        while self._places[0][1] != self._places[0][2].rank:
            heapq.heappop(self._places)
        return self._places[0][2]

    def charge(self, line: Line, work: int) -> None:
        """Counts work that is done for a caller. Rank the line again, or close it."""
        self._now = max(self._now, line.start)
        line.start += work
        while self._ahead_until and self._ahead_until[0][0] <= self._now:
            until, _, caller = heapq.heappop(self._ahead_until)
            if self._ahead.get(caller) == until:
                del self._ahead[caller]

    def close(self, line: Line) -> None:
        """Ends a line without entries."""
        line.rank = 0
        self._lines -= 1
        if not self._lines:  # nobody is ahead of anybody
            self._now = 0
            for waiting in (self._places, self._ahead, self._ahead_until):
                waiting.clear()
        elif line.start > self._now:
            self._ranks += 1
            self._ahead[line.caller] = line.start
            heapq.heappush(self._ahead_until, (line.start, self._ranks, line.caller))
