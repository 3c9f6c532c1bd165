"""Evaluates slabs of the host on a device: copies in, kernels and copies out of several launches overlap."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Generic

import torch
from torch import Tensor

from ce_engine._errors import DeviceLostError, EngineError
from ce_engine._kernel_rows import Kind, RowResults, Rows
from ce_engine._out_of_memory import is_out_of_memory, lack_of_memory
from ce_engine._slab import Slab
from ce_engine.gpu._berths import Berth, Memory
from ce_engine.gpu._evaluate import evaluate
from ce_engine.gpu._parts import pieces
from ce_engine.gpu._streams import Device, E
from ce_engine.gpu._transfer import Transfer

PIECE_BYTES = 16 * 2**20  # copied in under half a millisecond, yet long beside the start of a kernel; not measured yet
KEPT_PIECES = 2  # a piece, and room for what its rows share

log = logging.getLogger(__name__)

_lost: list[object] = []  # freeing memory of a lost device can abort the process before it says why it ends


class Flight:
    """A piece on its way."""

    def __init__(self, land: Callable[[], None], explain: Callable[[Exception], Exception]) -> None:
        self._land, self._explain = land, explain
        self._landed: Future[None] = Future()

    def finish(self) -> None:
        """Waits until its results are where they go, and keeps the error if there is one."""
        if self._landed.done():
            return
        try:
            self._landed.set_result(self._land())
        except Exception as error:  # noqa: BLE001 - `check` raises it
            self._landed.set_exception(self._explain(error))

    def check(self) -> None:
        """Raises the error that came instead of results."""
        self._landed.result()


class Ticket:
    """For the results of a launch."""

    def __init__(self, flights: Sequence[Flight], results: list[RowResults]) -> None:
        self._flights, self._results = flights, results

    def result(self) -> list[RowResults]:
        """Waits for the results: each slab's own, in memory of the host; a gradient in the slab's `grad_into`.

        Raises:
            OutOfMemoryError: Memory lacked.
            DeviceLostError: The device does not work any more.
        """
        for flight in self._flights:  # all of them before any error: until then, they write where results go
            flight.finish()
        for flight in self._flights:
            flight.check()
        return self._results


class Pipeline(Generic[E]):
    """Evaluates slabs of the host on a device. One thread drives it.

        >>> pipeline = Pipeline(CudaDevice())
        >>> first = pipeline.start([slab])
        >>> second = pipeline.start([other_slab])  # is copied in while the first one is computed
        >>> first.result(), second.result()

    A launch goes to the device in pieces, so that a large one overlaps with itself, and takes no more memory than a
    small one. Where memory lacks, the pipeline waits for what is in flight, frees all that it keeps, and tries again.

    Args:
        device: Where the slabs are evaluated.
        depth: The most pieces in flight: with 3, one is copied in, one is computed, and one is copied out. Starting
            one more waits for the oldest, whose results are kept.
        piece_bytes: The most that a piece takes each way, unless a row is longer. Each of the `depth` berths keeps
            four memories of up to twice that: pinned and on the device, for inputs and for results.
    """

    def __init__(self, device: Device[E], *, depth: int = 3, piece_bytes: int = PIECE_BYTES) -> None:
        self.depth = depth
        self._device, self._piece_bytes = device, piece_bytes
        self._copies_in, self._kernels, self._copies_out = device.queue(), device.queue(), device.queue()
        self._berths = [self._new_berth(KEPT_PIECES * piece_bytes) for _ in range(depth)]
        self._idle = list(self._berths)
        self._in_flight: deque[Flight] = deque()
        self._fault: str | None = None  # of a lost device

    @torch.no_grad()
    def start(self, slabs: Sequence[Slab]) -> Ticket:
        """Launches slabs of the same kind. When this returns, their inputs and targets may change.

        Raises:
            OutOfMemoryError: Memory lacked, and did so again once nothing else was in flight.
            DeviceLostError: The device does not work any more.
        """
        self._check_device()
        try:
            return self._launched(slabs)
        except Exception as error:  # noqa: BLE001 - raised below, where no frame of its traceback holds memory
            explained = self._explained(error, slabs)
        self._finish_all()  # pieces that have started write where the results go
        raise explained

    @torch.no_grad()
    def evaluate_states(
        self,
        kind: Kind,
        input: Tensor,
        target: Tensor | None,
        rows: Rows,
        results: RowResults,  # on the host
    ) -> None:
        """Evaluates hidden states, and waits. Beside their products, copies take no time.

        Raises:
            OutOfMemoryError: Memory lacked.
            DeviceLostError: The device does not work any more.
        """
        self._check_device()
        try:
            self._kernels.run(partial(self._evaluate_states, kind, input, target, rows, results))
            self._kernels.record().wait()
        except Exception as error:  # noqa: BLE001 - raised below, where no frame of its traceback holds memory
            lacks, explained = is_out_of_memory(error), self._explained(error)
        else:
            return
        raise lack_of_memory(kind, results.losses.shape[0]) if lacks else explained

    def _evaluate_states(
        self, kind: Kind, input: Tensor, target: Tensor | None, rows: Rows, results: RowResults
    ) -> None:
        device = self._kernels.memory(1).device
        x, t = input.to(device), None if target is None else target.to(device)
        found = evaluate(kind._replace(device=device), x, t, rows, results.losses.shape[0])
        for own, source in zip(results, found, strict=True):
            if own is not None and source is not None:
                own.copy_(source)

    def close(self) -> None:
        """Waits until all launches are done. Before that, a pipeline must not be dropped."""
        self._finish_all()

    def _new_berth(self, kept_bytes: int) -> Berth:
        on_host = self._device.host_memory
        allocators = (on_host, self._copies_in.memory, self._kernels.memory, on_host)
        return Berth(*(Memory(allocate, kept_bytes) for allocate in allocators))

    def _launched(self, slabs: Sequence[Slab]) -> Ticket:
        results = [RowResults.allocate(slab.kind, slab.input.shape, slab.row_count, slab.grad_into) for slab in slabs]
        cut = pieces(slabs, results, self._piece_bytes)
        return Ticket([self._send(Transfer(slabs[0].kind, piece)) for piece in cut], results)

    def _send(self, transfer: Transfer) -> Flight:
        try:
            return self._start(transfer)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self._free_memory()  # not in the handler: the error's frames hold memory
        return self._start(transfer)

    def _start(self, transfer: Transfer) -> Flight:
        berth = self._free_berth()
        try:
            flight = self._launch(transfer, berth)
        except BaseException:
            self._idle.append(berth)
            self._wait_for_all()
            berth.free()  # it may be what others lack
            raise
        self._in_flight.append(flight)
        return flight

    def _free_berth(self) -> Berth:
        if not self._idle:
            self._in_flight[0].finish()
        return self._idle.pop()

    def _launch(self, transfer: Transfer, berth: Berth) -> Flight:
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

        def land() -> None:
            self._in_flight.remove(flight)
            self._idle.append(berth)
            self._check_device()
            arrived.wait()
            transfer.deliver(host_outputs)
            berth.trim()

        flight = Flight(land, self._explained)
        return flight

    def _wait_for_all(self) -> None:
        for queue in (self._copies_in, self._kernels, self._copies_out):
            queue.record().wait()

    def _finish_all(self) -> None:
        while self._in_flight:
            self._in_flight[0].finish()

    def _free_memory(self) -> None:
        self._finish_all()
        for berth in self._berths:
            berth.free()
        self._device.empty_caches()

    def _check_device(self) -> None:
        if self._fault is not None:
            raise DeviceLostError(self._fault)

    def _explained(self, error: Exception, slabs: Sequence[Slab] = ()) -> Exception:
        """The engine's error for one of the device's, or the same if it has none."""
        if isinstance(error, EngineError):
            return error
        if slabs and is_out_of_memory(error):
            log.warning("out of memory", extra={"problem": first_line(error)})
            return lack_of_memory(slabs[0].kind, sum(slab.row_count for slab in slabs))
        try:
            self._device.check()
        except Exception as fault:  # noqa: BLE001 - whatever it is, the device does not work
            self._fault = first_line(fault)
            _lost.append(self._berths)
            return DeviceLostError(self._fault)
        return error


def first_line(error: Exception) -> str:
    """CUDA's advice on how to debug fills the others."""
    return str(error).partition("\n")[0]
