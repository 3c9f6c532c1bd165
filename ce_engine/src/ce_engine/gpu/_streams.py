"""What a pipeline needs of a device: queues of work, events between them, memory. Tests implement it without a GPU."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import Tensor


class Event(Protocol):
    def wait(self) -> None:
        """Blocks the calling thread until all work queued before the event is done."""


E = TypeVar("E", bound=Event)


class Queue(Protocol[E]):
    """Work that a device does in order, while other queues do theirs. No method waits for it."""

    def memory(self, nbytes: int) -> Tensor:
        """Bytes on the device, which this queue uses first. They must not be freed before the work on them is done."""

    def copy(self, destination: Tensor, source: Tensor) -> None: ...

    def run(self, work: Callable[[], None]) -> None:
        """Calls a function that launches kernels."""

    def record(self) -> E:
        """An event after all work that was queued so far."""

    def wait(self, event: E) -> None:
        """Makes work that is queued from now on wait for the event."""


class Device(Protocol[E]):
    def queue(self) -> Queue[E]: ...

    def host_memory(self, nbytes: int) -> Tensor:
        """Bytes on the host that a device copies from and to by itself."""

    def empty_caches(self) -> None:
        """Gives back memory that was freed and is kept for later, on the device and on the host."""

    def check(self) -> None:
        """Waits for all work. Raises an error if the device does not work any more: then none of its calls does."""


class CudaEvent:
    def __init__(self, event: torch.cuda.Event) -> None:
        self.event = event

    def wait(self) -> None:
        self.event.synchronize()


class CudaQueue:
    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def memory(self, nbytes: int) -> Tensor:
        # PyTorch hands out memory that work of the current stream may still use, so this stream must be current.
        with torch.cuda.stream(self._stream):
            return torch.empty(nbytes, dtype=torch.uint8, device=self._stream.device)

    def copy(self, destination: Tensor, source: Tensor) -> None:
        with torch.cuda.stream(self._stream):
            destination.copy_(source, non_blocking=True)

    def run(self, work: Callable[[], None]) -> None:
        with torch.cuda.stream(self._stream):
            work()

    def record(self) -> CudaEvent:
        # A thread that waits for a blocking event sleeps instead of spinning.
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(self._stream)
        return CudaEvent(event)

    def wait(self, event: CudaEvent) -> None:
        self._stream.wait_event(event.event)


class CudaDevice:
    def __init__(self, device: torch.device | str = "cuda") -> None:
        device = torch.device(device)
        index = torch.cuda.current_device() if device.index is None else device.index
        self._device = torch.device("cuda", index)

    def queue(self) -> CudaQueue:
        return CudaQueue(self._device)

    def host_memory(self, nbytes: int) -> Tensor:
        # Pinning makes a context on the current device if it has none: hundreds of MB where nothing else is done.
        with torch.cuda.device(self._device):
            return torch.empty(nbytes, dtype=torch.uint8, device="cpu", pin_memory=True)

    def empty_caches(self) -> None:
        torch.cuda.empty_cache()
        empty_host_cache = getattr(torch._C, "_host_emptyCache", None)  # noqa: SLF001 - public from PyTorch 2.12 on
        if empty_host_cache is not None:
            empty_host_cache()

    def check(self) -> None:
        torch.cuda.synchronize(self._device)
