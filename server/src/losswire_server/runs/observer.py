"""Who is told of what the store writes."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from losswire_server.runs.records import RunRecord


class Commit(NamedTuple):
    """One transaction with entries."""

    seconds: float  # from its begin until it is on disk
    counted: int  # entries that are added
    repeats: int  # that counted before, with the same sums
    conflicts: int  # that counted before, with others
    refused: int  # all others: over a quota, without a run, of another loss
    runs: Sequence[RunRecord]  # those that it added to, as they are after it; without spec, labels, slices and classes


class Observer(Protocol):
    """Who is told of what the store writes, by the thread that writes. It must be quick, and not raise."""

    def committed(self, commit: Commit) -> None:
        """A transaction is on disk."""

    def unavailable(self) -> None:
        """A transaction failed, since the database cannot be reached."""


class NoObserver:
    """Is told, and does nothing."""

    def committed(self, commit: Commit) -> None:
        pass

    def unavailable(self) -> None:
        pass
