"""The engine takes slabs of many callers, returns futures, and launches small slabs of the same kind together."""

import atexit
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch

from ce_engine import cpu
from ce_engine._batching.entries import Entry
from ce_engine._batching.futures import tell
from ce_engine._batching.in_flight import InFlight, Launch, claim
from ce_engine._batching.launchers import Launcher, launchable, launcher_for
from ce_engine._batching.parts import Parted
from ce_engine._batching.queue import FairQueue, LaunchLimits
from ce_engine._batching.sharing import Sharing
from ce_engine._errors import DeviceLostError, EngineClosedError, InvalidArgumentError
from ce_engine._plans.validation import check_least, check_type
from ce_engine._slab import Slab

MAX_DELAY_US = 3600 * 10**6
MAX_BATCH_BYTES = {"cpu": 256 * 2**10, "cuda": 64 * 2**20}


class Engine:
    """Evaluates slabs in threads of its own.

        >>> with Engine() as engine:
        ...     engine.submit(slabs.cross_entropy(torch.tensor([1.0, 2.0, 3.0]), torch.tensor(2))).result().loss
        tensor(0.4076)

    A launch takes small slabs of the same kind, that is of the same loss, dtype, class count and wanted outputs,
    whatever their reductions, weights and callers. A GPU evaluates them together, and a CPU if they are many. Idle
    workers help with a large slab, a millisecond at a time. A result has the same bits in any company. Callers take
    turns by their work. A wrong slab fails alone.

    Small slabs with the same head are evaluated as one tile of rows. A slab of more rows than a tile is evaluated in
    parts of a tile, or of some tiles if it has more than 512: others take turns in between, and workers share it.

    Args:
        device: Where slabs are evaluated: ``cpu``, or ``cuda``, where copies overlap computation. The tensors of slabs
            are on the CPU.
        workers: Threads that launch. Each has its own PyTorch threads.
        torch_threads: PyTorch threads for one launch; as many as the calling thread has if None. PyTorch gives the same
            number to all threads that are started later.
        max_batch_rows: The most rows of several slabs in a launch.
        max_batch_bytes: The most bytes of their input. Slabs of more than a quarter of this are launched alone. If
            None, 256 KiB on a CPU and 64 MiB on a GPU.
        max_queue_delay_us: How long a launch waits to be filled up; with 0 it takes the slabs that wait already. It
            does not wait while a large slab does, or one whose deadline comes within twice this time.
        max_queue_rows: Rows that may wait. A caller's waiting rows may be no more than are left free, so that a flood
            from one caller always leaves room for others.
        niceness: By how much the workers' threads are nicer than others, on Linux: 1 to 19 leave a busy CPU to threads
            that answer while large slabs are evaluated.
        on_launch: Is told of every launch when it begins, in the thread that launches.
        on_retry: Is told of every launch of several slabs that failed, before each of them is evaluated alone, in the
            thread that launches.
        on_device_lost: Is told once, in a thread that launches, that the device does not work any more. Until this
            process is started anew, every slab fails with a `DeviceLostError`, those that wait or are in flight too.

    Attributes:
        device: Where slabs are evaluated.
        max_batch_bytes: As given, or the default for the device.

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
        niceness: int = 0,
        on_launch: Callable[[Launch], object] | None = None,
        on_retry: Callable[[], object] | None = None,
        on_device_lost: Callable[[DeviceLostError], object] | None = None,
    ) -> None:
        self.device = device = launchable(device)
        if max_batch_bytes is None:
            max_batch_bytes = MAX_BATCH_BYTES[device.type]
        check_least(1, workers=workers, max_batch_rows=max_batch_rows, max_queue_rows=max_queue_rows)
        check_least(0, max_batch_bytes=max_batch_bytes, max_queue_delay_us=max_queue_delay_us, niceness=niceness)
        if max_queue_delay_us > MAX_DELAY_US:
            raise InvalidArgumentError(
                "max_queue_delay_us", f"expected at most {MAX_DELAY_US}, got {max_queue_delay_us}"
            )
        torch_threads = torch.get_num_threads() if torch_threads is None else torch_threads
        check_least(1, torch_threads=torch_threads)
        limits = LaunchLimits(max_batch_rows, max_batch_bytes, max_queue_delay_us * 1e-6)
        self._sharing = Sharing(self._wake)
        self._queue = FairQueue(limits, max_queue_rows, lambda: self._sharing.is_wanted)
        self.max_batch_bytes = max_batch_bytes
        self._torch_threads = torch_threads
        self._niceness = niceness
        self._on_launch = on_launch
        self._on_retry = on_retry
        self._on_device_lost = on_device_lost
        self._fault: str | None = None  # of a lost device
        self._fault_lock = threading.Lock()
        self._process = os.getpid()
        run = self._sharing.run if workers > 1 else cpu.run_alone
        self._threads = [
            threading.Thread(
                target=self._work,
                args=(launcher_for(device, run, self._tell_retry),),
                name=f"ce-engine-{i}",
                daemon=True,
            )
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)  # a thread that Python ends during a launch would crash

    @property
    def waiting_rows(self) -> int:
        """Rows that were submitted and are not yet being evaluated."""
        return self._queue.rows

    def submit(
        self,
        slab: Slab,
        *,
        caller: Hashable = None,
        deadline: float | None = None,
        then: Callable[[Any, float], Any] | None = None,
    ) -> "Future[Any]":
        """Queues a slab. Cancelling the future takes the slab out of the queue.

        A slab with a head is evaluated in parts. Its future can be cancelled between them, and its
        deadline holds for each; while a part is evaluated, ``cancel`` returns False, and takes effect after it.

        Args:
            slab: From one of the functions in ``ce_engine.slabs``.
            caller: Who asks; callers get equal shares of the work.
            deadline: The time by ``time.monotonic`` after which the slab is not evaluated any more.
            then: Makes the future's value from the slab's result and the seconds that its evaluation took. It is called
                in the thread that evaluated the slab, where the result is still in the cache. Its error is the
                future's. If None, the value is the result.

        Raises:
            QueueFullError: There is no room in the queue.
            DeviceLostError: The device does not work any more.
            EngineClosedError: The engine was closed, or belongs to the process that this one was forked from.
            InvalidArgumentError: An argument is of the wrong type.
        """
        check_type("slab", slab, Slab)
        check_type("deadline", deadline, float | int | None)
        check_type("caller", caller, Hashable)
        if os.getpid() != self._process:
            raise EngineClosedError("the engine's threads are in the process that this one was forked from")
        if self._fault is not None:
            raise DeviceLostError(self._fault)
        entry = Entry(slab, caller, deadline, then)
        if 0 < entry.tile_rows < entry.rows:
            parted = Parted(slab, then, self._queue.discard)
            self._queue.put(*parted.cut(caller, deadline))
            return parted.future
        self._queue.put(entry)
        entry.future.add_done_callback(partial(self._forget_if_cancelled, weakref.ref(entry)))
        return entry.future

    def _forget_if_cancelled(self, waiting: "weakref.ref[Entry]", future: "Future[Any]") -> None:
        # A future keeps its callbacks: if they kept the entry, only a garbage collection would free the input.
        entry = waiting()
        if entry is not None and future.cancelled():
            self._queue.discard(entry)

    def close(self, *, cancel_waiting: bool = False) -> None:
        """Takes no more slabs, and waits until submitted slabs are done. In a callback of a future it does not wait.

        Args:
            cancel_waiting: Whether slabs that wait are cancelled, so that only slabs being evaluated are waited for.
        """
        self._queue.close()
        if cancel_waiting:
            for entry in self._queue.waiting():
                entry.future.cancel()
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

    def _wake(self) -> None:
        self._queue.wake()

    def _work(self, launcher: Launcher) -> None:
        torch.set_num_threads(self._torch_threads)
        _be_nicer(self._niceness)
        in_flight: deque[InFlight] = deque()
        # While no slab waits, launches in flight are finished, so that a waiting thread holds no slab.
        while (entries := self._queue.take(wait=not in_flight)) is not None or in_flight:
            if not entries and not in_flight:
                self._sharing.help()
            if entries:
                in_flight.append(self._launch(launcher, entries))
            if in_flight and (not entries or len(in_flight) >= launcher.depth):
                in_flight.popleft().finish(self._lose_device)
            del entries
        launcher.close()

    def _launch(self, launcher: Launcher, entries: Sequence[Entry]) -> InFlight:
        now = time.monotonic()
        wanted = [entry for entry in entries if claim(entry, now)]
        if wanted and wanted[0].is_first and self._on_launch is not None:
            tell(self._on_launch, Launch.of(wanted, now))
        return InFlight(launcher, wanted)

    def _tell_retry(self) -> None:
        if self._on_retry is not None:
            tell(lambda on_retry: on_retry(), self._on_retry)

    def _lose_device(self, error: DeviceLostError) -> None:
        # Slabs that wait need nothing of their own: their launches fail at once.
        with self._fault_lock:
            known, self._fault = self._fault, str(error)
        if known is None and self._on_device_lost is not None:
            tell(self._on_device_lost, error)


def _be_nicer(by: int) -> None:
    """Lowers the priority of this thread alone. Only Linux has a priority for each thread."""
    if by and sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + by)
