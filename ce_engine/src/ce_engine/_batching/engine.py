"""The engine takes slabs of many callers, returns futures, and merges small slabs of the same kind into one launch."""

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import torch

from ce_engine._batching.launchers import Launcher, launchable, launcher_for
from ce_engine._batching.queue import Entry, FairQueue, LaunchLimits
from ce_engine._errors import DeadlineExceededError, EngineClosedError, InvalidArgumentError
from ce_engine._plans.validation import check_least, check_type
from ce_engine._result import LossResult
from ce_engine._slab import RowResults, Slab

T = TypeVar("T")
log = logging.getLogger(__name__)

MAX_DELAY_US = 3600 * 10**6
MAX_BATCH_BYTES = {"cpu": 256 * 2**10, "cuda": 64 * 2**20}


class Engine:
    """Evaluates slabs in threads of its own.

        >>> with Engine() as engine:
        ...     engine.submit(slabs.cross_entropy(torch.tensor([1.0, 2.0, 3.0]), torch.tensor(2))).result().loss
        tensor(0.4076)

    Slabs of the same kind, that is of the same loss, dtype, class count and wanted outputs, are merged into one launch
    whatever their reductions, weights and callers. A result has the same bits, alone or merged. Callers take turns. If
    a merged launch fails, its slabs are launched one by one, so that only wrong slabs fail.

    Args:
        device: Where slabs are evaluated: ``cpu``, or ``cuda``, where copies overlap computation. The tensors of slabs
            are on the CPU.
        workers: Threads that launch. Each has its own PyTorch threads.
        torch_threads: PyTorch threads for one launch; as many as the calling thread has if None. PyTorch gives the same
            number to all threads that are started later.
        max_batch_rows: The most rows that are merged.
        max_batch_bytes: The most bytes of input that are merged. Merging copies: it pays only for slabs so small that a
            launch costs more than the copy. Slabs of more than a quarter of this are launched alone. If None,
            256 KiB on a CPU and 64 MiB on a GPU, where a copy is made anyway.
        max_queue_delay_us: How long a launch waits to be filled up; with 0 it takes the slabs that wait already.
        max_queue_rows: Rows that may wait. A caller's waiting rows may be no more than are left free, so that a flood
            from one caller always leaves room for others.

    Raises:
        InvalidArgumentError: A number is too small, or PyTorch has no such device.
    """

    def __init__(
        self,
        *,
        device: torch.device | str = "cpu",
        workers: int = 1,
        torch_threads: int | None = None,
        max_batch_rows: int = 65536,
        max_batch_bytes: int | None = None,
        max_queue_delay_us: int = 0,
        max_queue_rows: int = 2**27,
    ) -> None:
        device = launchable(device)
        if max_batch_bytes is None:
            max_batch_bytes = MAX_BATCH_BYTES[device.type]
        check_least(1, workers=workers, max_batch_rows=max_batch_rows, max_queue_rows=max_queue_rows)
        check_least(0, max_batch_bytes=max_batch_bytes, max_queue_delay_us=max_queue_delay_us)
        if max_queue_delay_us > MAX_DELAY_US:
            raise InvalidArgumentError(
                "max_queue_delay_us", f"expected at most {MAX_DELAY_US}, got {max_queue_delay_us}"
            )
        torch_threads = torch.get_num_threads() if torch_threads is None else torch_threads
        check_least(1, torch_threads=torch_threads)
        limits = LaunchLimits(max_batch_rows, max_batch_bytes, max_queue_delay_us * 1e-6)
        self._queue = FairQueue(limits, max_queue_rows)
        self._torch_threads = torch_threads
        self._process = os.getpid()
        self._threads = [
            threading.Thread(target=self._work, args=(launcher_for(device),), name=f"ce-engine-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)  # a thread that Python ends during a launch would crash

    @property
    def waiting_rows(self) -> int:
        """Rows that were submitted and are not yet being evaluated."""
        return self._queue.rows

    def submit(self, slab: Slab, *, caller: Hashable = None, deadline: float | None = None) -> "Future[LossResult]":
        """Queues a slab. Cancelling the future takes the slab out of the queue.

        Args:
            slab: From one of the functions in ``ce_engine.slabs``.
            caller: Who asks; callers take turns.
            deadline: The time by ``time.monotonic`` after which the slab is not evaluated any more.

        Raises:
            QueueFullError: There is no room in the queue.
            EngineClosedError: The engine was closed, or belongs to the process that this one was forked from.
            InvalidArgumentError: An argument is of the wrong type.
        """
        check_type("slab", slab, Slab)
        check_type("deadline", deadline, float | int | None)
        check_type("caller", caller, Hashable)
        if os.getpid() != self._process:
            raise EngineClosedError("the engine's threads are in the process that this one was forked from")
        entry = Entry(slab, caller, deadline)
        self._queue.put(entry)
        entry.future.add_done_callback(partial(self._forget_if_cancelled, weakref.ref(entry)))
        return entry.future

    def _forget_if_cancelled(self, waiting: "weakref.ref[Entry]", future: "Future[LossResult]") -> None:
        # A future keeps its callbacks: if they kept the entry, only a garbage collection would free the input.
        entry = waiting()
        if entry is not None and future.cancelled():
            self._queue.discard(entry)

    def close(self) -> None:
        """Takes no more slabs, and waits until submitted slabs are done. In a callback of a future it does not wait."""
        self._queue.close()
        atexit.unregister(self.close)
        if threading.current_thread() not in self._threads:
            for thread in self._threads:
                thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _work(self, launcher: Launcher) -> None:
        torch.set_num_threads(self._torch_threads)
        in_flight: deque[_InFlight] = deque()
        # While no slab waits, launches in flight are finished, so that a waiting thread holds no slab.
        while (entries := self._queue.take(wait=not in_flight)) is not None or in_flight:
            if entries:
                in_flight.append(_InFlight(launcher, entries))
            if in_flight and (not entries or len(in_flight) >= launcher.depth):
                in_flight.popleft().finish()
            del entries
        launcher.close()


class _InFlight:
    """A launch in flight."""

    def __init__(self, launcher: Launcher, entries: Sequence[Entry]) -> None:
        self._launcher = launcher
        self._entries = [entry for entry in entries if _claim(entry)]
        self._fetch = _start(launcher, [entry.slab for entry in self._entries])

    def finish(self) -> None:
        """Answers all entries."""
        try:
            results = self._fetch()
        except Exception as error:  # noqa: BLE001 - as above
            self._retry(error)
        else:
            for entry, result in zip(self._entries, results, strict=True):
                _answer(entry, partial(entry.slab.result, result))

    def _retry(self, error: Exception) -> None:
        if len(self._entries) == 1:
            _settle(self._entries[0].future.set_exception, error)
            return
        for entry in self._entries:
            _answer(entry, partial(self._alone, entry.slab))

    def _alone(self, slab: Slab) -> LossResult:
        (result,) = self._launcher.start([slab]).result()
        return slab.result(result)


def _start(launcher: Launcher, slabs: Sequence[Slab]) -> Callable[[], list[RowResults]]:
    """Starts a launch. Returns a function that waits for its results, or raises the error that stopped it."""
    if not slabs:
        return list
    try:
        return launcher.start(slabs).result
    except Exception as error:  # noqa: BLE001 - it goes to the callers
        return partial(_raise, error)


def _claim(entry: Entry) -> bool:
    """Whether the entry is still wanted. From then on it cannot be cancelled."""
    try:
        wanted = entry.future.set_running_or_notify_cancel()
    except (InvalidStateError, RuntimeError):  # its owner has settled it
        return False
    if wanted and entry.deadline is not None and time.monotonic() > entry.deadline:
        _settle(entry.future.set_exception, DeadlineExceededError("the slab's turn came after its deadline"))
        return False
    return wanted


def _answer(entry: Entry, compute: Callable[[], LossResult]) -> None:
    try:
        result = compute()
    except Exception as error:  # noqa: BLE001 - as above
        _settle(entry.future.set_exception, error)
    else:
        _settle(entry.future.set_result, result)


def _settle(settle: Callable[[T], None], value: T) -> None:
    """Settles a future. No error from its callbacks, or because its owner settled it, may end the engine's thread."""
    try:
        settle(value)
    except BaseException:  # even SystemExit
        log.exception("a future could not be settled, or its callback failed")


def _raise(error: Exception) -> list[RowResults]:
    raise error
