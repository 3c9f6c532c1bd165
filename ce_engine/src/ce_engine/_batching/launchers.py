"""Evaluates slabs of a kind as one launch, on a CPU at once, or on a GPU with several launches in flight."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ce_engine import cpu
from ce_engine._batching.merge import merge, split
from ce_engine._errors import InvalidArgumentError
from ce_engine._slab import Kind, RowResults, Rows, Slab


def launch(slab: Slab) -> RowResults:
    """Evaluates a slab on the device of its input."""
    operands = (slab.kind, slab.input, slab.target, slab.rows, slab.row_count)
    if slab.kind.device.type == "cpu":
        return cpu.evaluate(*operands, grad_into=slab.grad_into)
    return _evaluate(slab.kind)(*operands)


def launch_merged(slabs: Sequence[Slab]) -> list[RowResults]:
    if len(slabs) == 1:
        return [launch(slabs[0])]
    kind, row_count = slabs[0].kind, sum(slab.row_count for slab in slabs)
    return list(split(_evaluate(kind)(kind, *merge(slabs), row_count), slabs))


def _evaluate(kind: Kind) -> Callable[[Kind, Tensor, Tensor | None, Rows, int], RowResults]:
    if kind.device.type == "cpu":
        return cpu.evaluate
    from ce_engine import gpu  # needs Triton, which only builds of PyTorch for GPUs include

    return gpu.evaluate


class Ticket(Protocol):
    """For the results of a launch."""

    def result(self) -> list[RowResults]: ...


class Launcher(Protocol):
    """Launches slabs for one thread.

    Attributes:
        depth: The most launches in flight.
    """

    depth: int

    def start(self, slabs: Sequence[Slab]) -> Ticket: ...

    def close(self) -> None: ...


class CpuLauncher:
    """One launch at a time, which is over when `start` returns."""

    depth = 1

    def start(self, slabs: Sequence[Slab]) -> Ticket:
        return _Done(launch_merged(slabs))

    def close(self) -> None:
        """Nothing is in flight."""


class _Done:
    def __init__(self, results: list[RowResults]) -> None:
        self._results = results

    def result(self) -> list[RowResults]:
        return self._results


def launcher_for(device: torch.device) -> Launcher:
    if device.type == "cpu":
        return CpuLauncher()
    from ce_engine.gpu import CudaDevice, Pipeline

    return Pipeline(CudaDevice(device))


def launchable(name: torch.device | str) -> torch.device:
    """The device of a name, if slabs can be launched there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InvalidArgumentError("device", f"expected cpu or cuda, got {name}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidArgumentError("device", "expected one that PyTorch can use, got cuda")
    return device
