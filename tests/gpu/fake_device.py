"""A device that works only while a caller waits. It then does the work in its queues in any order that events allow.

Copies and kernels read memory when their turn comes, so a use of memory too early or too late shows in the results.
"""

import random
from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from tests.gpu.helpers import DEVICE


class FakeEvent:
    def __init__(self, device: "FakeDevice") -> None:
        self._device = device
        self.done = False

    def set(self) -> None:
        self.done = True

    def wait(self) -> None:
        self._device.waits += 1
        while not self.done:
            self._device.step()


class FakeQueue:
    def __init__(self, device: "FakeDevice") -> None:
        self._device = device
        self.work: deque[FakeEvent | Callable[[], object]] = deque()

    def memory(self, nbytes: int) -> Tensor:
        return self._device.allocate(nbytes, DEVICE)

    def copy(self, destination: Tensor, source: Tensor) -> None:
        self.work.append(lambda: destination.copy_(source))

    def run(self, work: Callable[[], None]) -> None:
        if self._device.launch_error is not None:
            raise self._device.launch_error
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
            work()


class FakeDevice:
    """Allocates poisoned memory, and counts allocations."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._queues: list[FakeQueue] = []
        self.waits = 0
        self.allocations: list[int] = []
        self.launch_error: Exception | None = None

    @property
    def busy(self) -> bool:
        return any(queue.work for queue in self._queues)

    def queue(self) -> FakeQueue:
        self._queues.append(FakeQueue(self))
        return self._queues[-1]

    def host_memory(self, nbytes: int) -> Tensor:
        return self.allocate(nbytes, torch.device("cpu"))

    def allocate(self, nbytes: int, device: torch.device) -> Tensor:
        self.allocations.append(nbytes)
        return torch.full((nbytes,), 255, dtype=torch.uint8, device=device)

    def step(self) -> None:
        self._random.choice([queue for queue in self._queues if queue.ready]).step()  # an error here means a deadlock
