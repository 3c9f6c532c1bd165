"""Evaluates the slabs of a launch: on a CPU at once, or on a GPU with several launches in flight."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from ce_engine import cpu
from ce_engine._batching.merge import merge, split
from ce_engine._errors import InvalidArgumentError
from ce_engine._kernel_rows import Kind, RowResults, Rows
from ce_engine._memory import CPU
from ce_engine._slab import Slab

LEAST_MERGED = 4  # slabs: merging two costs more than it saves, merging eight halves the time of 32 x 10
LEAST_MERGED_HEADS = 2  # with a head: a product of a few rows takes as long, since it reads all weights

LEAST_SHARED = 2**20  # elements: fewer are evaluated within a millisecond, and waking others takes a tenth of that

Fetch = Callable[[], RowResults]  # waits for the results of one slab, or raises the error that came instead


def launch(slab: Slab, run: cpu.Run = cpu.run_alone) -> RowResults:
    """Evaluates a slab on the device of its input; on a CPU ``run`` has compiled code evaluate it."""
    kind, rows, row_count = slab.kind, slab.rows, slab.row_count
    if kind.device == CPU and slab.results_into is not None:
        return cpu.evaluate(kind, slab.input, slab.target, rows, row_count, results=slab.results_into())
    if kind.device == CPU:
        return cpu.evaluate(kind, slab.input, slab.target, rows, row_count, slab.grad_into, run)
    from ce_engine import gpu  # needs Triton, which only builds of PyTorch for GPUs include

    return gpu.evaluate(kind, slab.input, slab.target, rows, row_count)


def launch_merged(slabs: Sequence[Slab]) -> list[RowResults]:
    """Evaluates slabs of one kind, of a CPU, as one."""
    if len(slabs) == 1:
        return [launch(slabs[0])]
    kind, row_count = slabs[0].kind, sum(slab.row_count for slab in slabs)
    return list(split(cpu.evaluate(kind, *merge(slabs), row_count), slabs))


class Launcher(Protocol):
    """Launches slabs for one thread.

    Attributes:
        depth: The most launches in flight.
    """

    depth: int

    def start(self, slabs: Sequence[Slab]) -> Sequence[Fetch]:
        """Starts a launch. Returns a function for each slab, to be called in order, each once.

        A slab's error comes when its results are fetched, and harms no other slab.
        """
        ...

    def close(self) -> None: ...


Start = Callable[[Sequence[Slab]], Callable[[], list[RowResults]]]  # of a launch; returns the wait for its results


OnRetry = Callable[[], object]  # is told that several slabs are evaluated again, one by one


def fetches(start: Start, slabs: Sequence[Slab], on_retry: OnRetry) -> list[Fetch]:
    """Evaluates slabs together; if that fails, each alone, so that only wrong slabs fail."""
    try:
        together = start(slabs)
    except Exception as error:  # noqa: BLE001 - it comes when results are fetched
        together = partial(_raise, error)
    return [partial(_fetch, start, together, slabs, number, on_retry) for number in range(len(slabs))]


def _fetch(
    start: Start, together: Callable[[], list[RowResults]], slabs: Sequence[Slab], number: int, on_retry: OnRetry
) -> RowResults:
    try:
        return together()[number]
    except Exception:
        if len(slabs) == 1:
            raise
    if number == 0:  # it is fetched first
        on_retry()
    (results,) = start([slabs[number]])()
    return results


def _raise(error: Exception) -> list[RowResults]:
    raise error


class CpuLauncher:
    """Merges many slabs: a launch takes several only if they are small. It evaluates a few one after the other.

    Args:
        run: Has a large launch evaluated, with the help of others.
        on_retry: Is told that a merged launch failed.
    """

    depth = 1

    def __init__(self, run: cpu.Run = cpu.run_alone, on_retry: OnRetry = lambda: None) -> None:
        self._run = run
        self._on_retry = on_retry

    def start(self, slabs: Sequence[Slab]) -> Sequence[Fetch]:
        if len(slabs) < (LEAST_MERGED if not slabs[0].kind.heads else LEAST_MERGED_HEADS):
            return [partial(launch, slab, self._run_of(slab)) for slab in slabs]
        return fetches(_merged, slabs, self._on_retry)

    def _run_of(self, slab: Slab) -> cpu.Run:
        return self._run if slab.input.numel() >= LEAST_SHARED else cpu.run_alone

    def close(self) -> None:
        """Nothing is in flight."""


def _allocated(slab: Slab) -> RowResults:
    return RowResults.allocate(slab.kind, slab.input.shape, slab.row_count, slab.grad_into)


def _merged(slabs: Sequence[Slab]) -> Callable[[], list[RowResults]]:
    results = launch_merged(slabs)
    return lambda: results


class Ticket(Protocol):
    """For the results of a launch."""

    def result(self) -> list[RowResults]: ...


class Pipeline(Protocol):
    """See `ce_engine.gpu.Pipeline`."""

    depth: int

    def start(self, slabs: Sequence[Slab]) -> Ticket: ...

    def evaluate_states(
        self, kind: Kind, input: Tensor, target: Tensor | None, rows: Rows, results: RowResults
    ) -> None: ...

    def close(self) -> None: ...


class PipelineLauncher:
    """Has a pipeline evaluate the slabs of a launch together."""

    def __init__(self, pipeline: Pipeline, on_retry: OnRetry = lambda: None) -> None:
        self.depth = pipeline.depth
        self._pipeline = pipeline
        self._on_retry = on_retry

    def start(self, slabs: Sequence[Slab]) -> Sequence[Fetch]:
        if slabs[0].kind.heads:
            return fetches(lambda together: partial(self._evaluate_states, together), slabs, self._on_retry)
        return fetches(lambda together: self._pipeline.start(together).result, slabs, self._on_retry)

    def _evaluate_states(self, slabs: Sequence[Slab]) -> list[RowResults]:
        """Of at most a tile, or of one part."""
        kind, row_count = slabs[0].kind, sum(slab.row_count for slab in slabs)
        if len(slabs) == 1:
            (slab,) = slabs
            results = slab.results_into() if slab.results_into is not None else _allocated(slab)
            self._pipeline.evaluate_states(kind, slab.input, slab.target, slab.rows, results)
            return [results]
        states, target, rows = merge(slabs)
        results = RowResults.allocate(kind, states.shape, row_count)
        self._pipeline.evaluate_states(kind, states, target, rows, results)
        return list(split(results, slabs))

    def close(self) -> None:
        self._pipeline.close()


def launcher_for(device: torch.device, run: cpu.Run, on_retry: OnRetry) -> Launcher:
    """A launcher for one thread; on a CPU ``run`` has large launches evaluated."""
    if device.type == "cpu":
        return CpuLauncher(run, on_retry)
    from ce_engine.gpu import CudaDevice, Pipeline

    return PipelineLauncher(Pipeline(CudaDevice(device)), on_retry)


def launchable(name: torch.device | str) -> torch.device:
    """The device of a name, if slabs can be launched there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise InvalidArgumentError("device", f"expected cpu or cuda, got {name}")
    if device.type == "cuda":
        _check_index(device.index or 0, name)
    return device


def _check_index(index: int, name: torch.device | str) -> None:
    count = torch.cuda.device_count()
    if not 0 <= index < count:
        found = f"cuda:0 to cuda:{count - 1}" if count > 1 else "cuda:0 alone" if count else "no CUDA device"
        raise InvalidArgumentError("device", f"expected one that PyTorch can use, got {name}; it finds {found}")
