"""A slab with a head in parts of a tile each: others take turns in between, and several workers share it."""

import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

import torch

from ce_engine._batching.entries import Entry
from ce_engine._batching.futures import settle, tell
from ce_engine._errors import DeadlineExceededError, DeviceLostError
from ce_engine._heads.logits import part_rows
from ce_engine._kernel_rows import RowResults, present
from ce_engine._out_of_memory import explained
from ce_engine._slab import Slab


class PartedFuture(Future[Any]):
    """The future of a slab in parts. It can be cancelled between parts too.

    While a part is evaluated, `cancel` returns False, since the slab's tensors are still in use; the future is
    cancelled as soon as they are not.
    """

    def __init__(self, parted: "Parted") -> None:
        super().__init__()
        self._parted = weakref.ref(parted)

    def cancel(self) -> bool:
        parted = self._parted()
        return super().cancel() if parted is None or self.done() else parted.cancel()

    def withdraw(self) -> None:
        super().cancel()
        self.set_running_or_notify_cancel()


class Parted:
    """A slab whose parts are evaluated in any order, each into its rows of the results.

    It ends when all parts are done; or, as soon as no part is being evaluated, after the first error, the deadline or a
    cancellation.

    Args:
        discard: Takes an entry from the queue.
    """

    def __init__(self, slab: Slab, then: Callable[[Any, float], Any] | None, discard: Callable[[Entry], None]) -> None:
        self.future = PartedFuture(self)
        self.slab: Slab | None = slab
        self._then = then
        self._discard = discard
        self._lock = threading.RLock()  # a garbage collection, which may cancel, can come while it is held
        self._results: RowResults | None = None
        self._waiting: dict[Entry, None] = {}
        self._running = 0
        self._seconds = 0.0
        self._error: BaseException | None = None
        self._is_cancelled = self._has_begun = self._is_over = False

    def cut(self, caller: Any, deadline: float | None) -> list[Entry]:
        """An entry for each part, in row order. The parts count as one slab in the queue."""
        slab, now = present(self.slab), time.monotonic()
        count, step = slab.row_count, part_rows(slab.row_count, slab.kind.tile_rows)
        for start in range(0, count, step):
            part = self._part(slab, slice(start, min(start + step, count)))
            self._waiting[Entry(part, caller, deadline, None, self.future, now, whole=self)] = None
        return list(self._waiting)

    def _part(self, slab: Slab, rows: slice) -> Slab:
        view, shape = slab.kind.as_rows, torch.Size((rows.stop - rows.start,))
        return Slab(
            slab.kind,
            view(slab.input)[0, rows],
            None if slab.target is None else view(slab.target)[0, rows],
            slab.rows.part(rows),
            slab.reduction._replace(shape=shape, row_weight=None),
            results_into=partial(_part_of_results, weakref.ref(self), rows),
        )

    def results_of(self, rows: slice) -> RowResults:
        """The rows of the results of all, which are there from the first part on."""
        slab = present(self.slab)
        with self._lock:
            if self._results is None:
                self._results = RowResults.allocate(slab.kind, slab.input.shape, slab.row_count, slab.grad_into)
        view = slab.kind.as_rows
        return self._results.map(lambda numbers: numbers[rows], lambda elements: view(elements)[0, rows])

    def begin(self, part: Entry, now: float) -> bool:
        """Whether the part is still wanted."""
        with self._lock:
            if self._is_over or part not in self._waiting or self.future.done():
                return False
            del self._waiting[part]
            self._running += 1
            part.is_first, self._has_begun = not self._has_begun, True
        if part.deadline is not None and now > part.deadline:
            self._end(0.0, DeadlineExceededError("the turn of one of the slab's parts came after its deadline"))
            return False
        return True

    def evaluate(
        self, fetch: Callable[[], RowResults], start: float, lose_device: Callable[[DeviceLostError], None]
    ) -> None:
        """Evaluates a part, and answers the caller after the last."""
        error: BaseException | None = None
        try:
            fetch()
        except DeviceLostError as lost:
            lose_device(lost)
            error = lost
        except BaseException as came:  # noqa: BLE001 - it goes to the caller, and must not end the engine's thread
            error = explained(came, present(self.slab).kind, present(self.slab).row_count)
        try:
            self._end(time.perf_counter() - start, error)
        finally:
            del self, error, fetch  # an error holds this frame, and would hold itself by the future

    def cancel(self) -> bool:
        with self._lock:
            if self._is_over:
                return self.future.cancelled()
            self._is_cancelled = True
            self._running += 1  # or the last part might answer the caller while others are still in the queue
            left = self._left()
        self._drop(left)
        with self._lock:
            self._running -= 1
            self._is_over = is_idle = not self._running
        if is_idle:
            self._settle()
        return is_idle

    def _end(self, seconds: float, error: BaseException | None) -> None:
        """Ends a part that has begun. It counts as running until the parts that it ends are out of the queue."""
        with self._lock:
            self._seconds += seconds
            self._error = self._error or error
            left = self._left() if self._error is not None else []
        self._drop(left)
        with self._lock:
            self._running -= 1
            self._is_over = is_over = not (self._running or self._waiting)
        try:
            if is_over:
                self._settle()
        finally:
            del self  # as in `evaluate`

    def _left(self) -> list[Entry]:
        left = list(self._waiting)
        self._waiting.clear()
        return left

    def _drop(self, left: list[Entry]) -> None:
        for entry in left:
            self._discard(entry)

    def _settle(self) -> None:
        """Answers the caller, and frees all that was needed for it."""
        slab, results, then, error = self.slab, self._results, self._then, self._error
        self.slab = self._results = self._then = self._error = None
        try:
            if self._is_cancelled:
                self.future.withdraw()
            elif error is not None:
                tell(self.future.set_exception, error)
            else:
                settle(self.future, partial(_value, present(slab), present(results), then, self._seconds))
        finally:
            del self, slab, results, then, error  # as in `evaluate`


def _part_of_results(parted: "weakref.ref[Parted]", rows: slice) -> RowResults:
    """Does not hold the whole: an error holds the part's slab, and would hold itself by the future."""
    return present(parted()).results_of(rows)


def _value(slab: Slab, results: RowResults, then: Callable[[Any, float], Any] | None, seconds: float) -> Any:
    result = slab.result(results)
    return result if then is None else then(result, seconds)
