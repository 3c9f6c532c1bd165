"""Evaluates slabs of the host on a device, with several launches in flight.

A launch passes through three queues: one copies its bytes in, one computes, and one copies its results out. The queues
work at the same time, so that one launch's copies overlap another's kernels. From `Pipeline.start` until its results
are fetched, a launch has memory of its own on the host and on the device: its berth. So no memory is used again before
the work on it is over, and the thread that drives the pipeline waits only for the results of a launch.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Generic

import torch
from torch import Tensor

from ce_engine._memory import rounded
from ce_engine._slab import RowResults, Slab
from ce_engine.gpu._streams import Device, E
from ce_engine.gpu._transfer import Transfer

MIB = 2**20


class Memory:
    """Bytes that are used again, unless they are more than `kept_bytes`."""

    def __init__(self, allocate: Callable[[int], Tensor], kept_bytes: int) -> None:
        self._allocate, self._kept_bytes = allocate, kept_bytes
        self._bytes: Tensor | None = None

    def take(self, nbytes: int) -> Tensor:
        if self._bytes is None or self._bytes.numel() < nbytes:
            self._bytes = None  # first, so that both never exist at once
            self._bytes = self._allocate(rounded(nbytes))
        return self._bytes[:nbytes]

    def trim(self) -> None:
        if self._bytes is not None and self._bytes.numel() > self._kept_bytes:
            self._bytes = None


class Berth:
    """A launch's memory."""

    def __init__(self, host_inputs: Memory, inputs: Memory, outputs: Memory, host_outputs: Memory) -> None:
        self.host_inputs, self.inputs, self.outputs, self.host_outputs = host_inputs, inputs, outputs, host_outputs

    def trim(self) -> None:
        for memory in (self.host_inputs, self.inputs, self.outputs, self.host_outputs):
            memory.trim()


class Ticket:
    """For the results of a launch."""

    def __init__(self, fetch: Callable[[], list[RowResults]]) -> None:
        self._fetch = fetch
        self._results: Future[list[RowResults]] = Future()

    def result(self) -> list[RowResults]:
        """Waits for the results: each slab's own, in memory of the host."""
        self.finish()
        return self._results.result()

    def finish(self) -> None:
        """Waits for the results, and keeps them, or the error that came instead."""
        if self._results.done():
            return
        try:
            self._results.set_result(self._fetch())
        except Exception as error:  # noqa: BLE001 - `result` raises it
            self._results.set_exception(error)


class Pipeline(Generic[E]):
    """Evaluates slabs of the host on a device. One thread drives it.

        >>> pipeline = Pipeline(CudaDevice())
        >>> first = pipeline.start([slab])
        >>> second = pipeline.start([other_slab])  # is copied in while the first one is computed
        >>> first.result(), second.result()

    Args:
        device: Where the slabs are evaluated.
        depth: The most launches in flight: with 3, one is copied in, one is computed, and one is copied out. Starting
            one more waits for the oldest, whose ticket keeps its results.
        kept_bytes: Memory up to this size is kept for the next launch, and larger memory is freed after its launch.
            Each of the `depth` berths has four memories: pinned and on the device, for inputs and for results.
    """

    def __init__(self, device: Device[E], *, depth: int = 3, kept_bytes: int = 64 * MIB) -> None:
        self.depth = depth
        self._copies_in, self._kernels, self._copies_out = device.queue(), device.queue(), device.queue()
        self._idle = [
            Berth(
                host_inputs=Memory(device.host_memory, kept_bytes),
                inputs=Memory(self._copies_in.memory, kept_bytes),
                outputs=Memory(self._kernels.memory, kept_bytes),
                host_outputs=Memory(device.host_memory, kept_bytes),
            )
            for _ in range(depth)
        ]
        self._in_flight: deque[Ticket] = deque()

    @torch.no_grad()
    def start(self, slabs: Sequence[Slab]) -> Ticket:
        """Launches slabs of the same kind as one. When this returns, their inputs and targets may change."""
        transfer = Transfer(slabs)
        if not transfer.has_elements:
            return Ticket(transfer.empty_results)
        berth = self._free_berth()
        try:
            ticket = self._launch(transfer, berth)
        except BaseException:
            self._wait_for_all()
            self._idle.append(berth)
            raise
        self._in_flight.append(ticket)
        return ticket

    def close(self) -> None:
        """Waits until all launches are done. Before that, a pipeline must not be dropped."""
        while self._in_flight:
            self._in_flight[0].finish()

    def _free_berth(self) -> Berth:
        if not self._idle:
            self._in_flight[0].finish()
        return self._idle.pop()

    def _launch(self, transfer: Transfer, berth: Berth) -> Ticket:
        host_inputs, inputs = berth.host_inputs.take(transfer.inputs.nbytes), berth.inputs.take(transfer.inputs.nbytes)
        outputs = berth.outputs.take(transfer.outputs.nbytes)
        host_outputs = berth.host_outputs.take(transfer.outputs.nbytes)
        transfer.fill(host_inputs)
        self._copies_in.copy(inputs, host_inputs)
        self._kernels.wait(self._copies_in.record())
        self._kernels.run(partial(transfer.launch, inputs, outputs))
        self._copies_out.wait(self._kernels.record())
        self._copies_out.copy(host_outputs, outputs)
        arrived = self._copies_out.record()

        def fetch() -> list[RowResults]:
            self._in_flight.remove(ticket)
            try:
                arrived.wait()
                return transfer.results(host_outputs)
            finally:
                berth.trim()
                self._idle.append(berth)

        ticket = Ticket(fetch)
        return ticket

    def _wait_for_all(self) -> None:
        for queue in (self._copies_in, self._kernels, self._copies_out):
            queue.record().wait()
