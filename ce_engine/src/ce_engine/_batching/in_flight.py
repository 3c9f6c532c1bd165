"""A launch in flight: what it took from the queue, and how its results get into the callers' futures."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import InvalidStateError
from typing import NamedTuple

from ce_engine._batching.entries import Entry
from ce_engine._batching.futures import tell
from ce_engine._batching.launchers import Fetch, Launcher
from ce_engine._errors import DeadlineExceededError, DeviceLostError
from ce_engine._kernel_rows import present
from ce_engine._out_of_memory import explained


class Launch(NamedTuple):
    """What a launch took from the queue.

    A slab that is evaluated in parts counts as one launch, which takes it when the first part begins.

    Attributes:
        rows: Of all its slabs.
        requests: Whose rows they are.
        waited_seconds: How long each slab was in the queue.
    """

    rows: int
    requests: int
    waited_seconds: list[float]

    @classmethod
    def of(cls, entries: Sequence[Entry], now: float) -> "Launch":
        slabs = [entry.slab if entry.whole is None else present(entry.whole.slab) for entry in entries]
        rows, requests = sum(slab.row_count for slab in slabs), sum(slab.request_count for slab in slabs)
        return cls(rows, requests, [now - entry.arrival for entry in entries])


class InFlight:
    """A launch in flight."""

    def __init__(self, launcher: Launcher, entries: Sequence[Entry]) -> None:
        self._start = time.perf_counter()
        self._entries = deque(entries)
        self._fetches = deque(launcher.start([entry.slab for entry in entries]) if entries else ())

    def finish(self, lose_device: Callable[[DeviceLostError], None]) -> None:
        """Answers all entries, each as soon as its results are there."""
        start = self._start
        while self._entries:
            _answer(self._entries.popleft(), self._fetches.popleft(), start, lose_device)
            start = time.perf_counter()


def claim(entry: Entry, now: float) -> bool:
    """Whether the entry is still wanted. From then on it cannot be cancelled."""
    if entry.whole is not None:
        return entry.whole.begin(entry, now)
    try:
        wanted = entry.future.set_running_or_notify_cancel()
    except (InvalidStateError, RuntimeError):  # its owner has settled it
        return False
    if wanted and entry.deadline is not None and now > entry.deadline:
        tell(entry.future.set_exception, DeadlineExceededError("the slab's turn came after its deadline"))
        return False
    return wanted


def _answer(entry: Entry, fetch: Fetch, start: float, lose_device: Callable[[DeviceLostError], None]) -> None:
    try:
        if entry.whole is not None:
            entry.whole.evaluate(fetch, start, lose_device)
            return
        result = entry.slab.result(fetch())
        value = result if entry.then is None else entry.then(result, time.perf_counter() - start)
    except DeviceLostError as error:
        lose_device(error)  # first: who hears of it here finds that the engine knows it too
        tell(entry.future.set_exception, error)
    except BaseException as error:  # noqa: BLE001 - it goes to the caller, and must not end the engine's thread
        tell(entry.future.set_exception, explained(error, entry.kind, entry.rows))
    else:
        tell(entry.future.set_result, value)
    finally:
        del entry, fetch  # an error holds this frame, and would hold itself by the future
