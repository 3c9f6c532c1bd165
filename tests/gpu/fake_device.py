"""A device that works only while a caller waits. It then does the work in its queues in any order that events allow.

Copies and kernels read memory when their turn comes, so a use of memory too early or too late shows in the results.
"""

import math
import random
import weakref
from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, UntypedStorage

from tests.gpu.helpers import DEVICE


class FakeEvent:
    def __init__(self, device: "FakeDevice") -> None:
        self._device = device
        self.done = False

    def set(self) -> None:
        self.done = True

    def wait(self) -> None:
        self._device.check_life()
        self._device.waits += 1
        while not self.done:
            self._device.step()


class FakeQueue:
    def __init__(self, device: "FakeDevice") -> None:
        self._device = device
        self.work: deque[FakeEvent | Callable[[], object]] = deque()

    def memory(self, nbytes: int) -> Tensor:
        return self._device.allocate(nbytes, DEVICE, self._device.out_of_memory)

    def copy(self, destination: Tensor, source: Tensor) -> None:
        self._device.check_life()
        self.work.append(lambda: destination.copy_(source))

    def run(self, work: Callable[[], None]) -> None:
        self._device.check_life()
        self._device.count_launch()
        self.work.append(work)

    def record(self) -> FakeEvent:
        event = FakeEvent(self._device)
        self.work.append(event.set)
        return event

    def wait(self, event: FakeEvent) -> None:
        self.work.append(event)

    @property
    def ready(self) -> bool:
        return bool(self.work) and (not isinstance(self.work[0], FakeEvent) or self.work[0].done)

    def step(self) -> None:
        work = self.work.popleft()
        if not isinstance(work, FakeEvent):
            with np.errstate(all="ignore"):  # of this thread; as in conftest.py
                work()


class FakeDevice:
    """Allocates poisoned memory, and counts allocations.

    Attributes:
        free_bytes: What may still be allocated. Freed memory is free once the caches are emptied.
        launch_error: What a launch of kernels raises, once `launches_before_error` more have worked.
        fault: What every call raises, as those of CUDA do once a kernel has broken its context.
    """

    out_of_memory: Exception = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    not_pinned: Exception = torch.AcceleratorError("CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA`")

    def __init__(self, seed: int = 0, free_bytes: float = math.inf) -> None:
        self._random = random.Random(seed)
        self._queues: list[FakeQueue] = []
        self._allocated: list[tuple[weakref.ref[UntypedStorage], int]] = []
        self.free_bytes = free_bytes
        self.waits = 0
        self.allocations: list[int] = []
        self.launch_error: Exception | None = None
        self.launches_before_error = 0
        self.fault: Exception | None = None

    @property
    def busy(self) -> bool:
        return any(queue.work for queue in self._queues)

    def queue(self) -> FakeQueue:
        self._queues.append(FakeQueue(self))
        return self._queues[-1]

    def host_memory(self, nbytes: int) -> Tensor:
        return self.allocate(nbytes, torch.device("cpu"), self.not_pinned)

    def allocate(self, nbytes: int, device: torch.device, lack: Exception) -> Tensor:
        self.check_life()
        if nbytes > self.free_bytes:
            raise lack
        self.free_bytes -= nbytes
        self.allocations.append(nbytes)
        memory = torch.full((nbytes,), 255, dtype=torch.uint8, device=device)
        self._allocated.append((weakref.ref(memory.untyped_storage()), nbytes))
        return memory

    def empty_caches(self) -> None:
        self.check_life()
        assert not self.busy
        self.free_bytes += sum(nbytes for memory, nbytes in self._allocated if memory() is None)
        self._allocated = [(memory, nbytes) for memory, nbytes in self._allocated if memory() is not None]

    def check(self) -> None:
        self.check_life()
        while self.busy:
            self.step()

    def count_launch(self) -> None:
        if self.launch_error is None:
            return
        if self.launches_before_error == 0:
            raise self.launch_error
        self.launches_before_error -= 1

    def check_life(self) -> None:
        if self.fault is not None:
            raise self.fault

    def step(self) -> None:
        self._random.choice([queue for queue in self._queues if queue.ready]).step()  # an error here means a deadlock
