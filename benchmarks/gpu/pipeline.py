"""From host memory and back, which is the least for a service: the engine's pipeline beside a bare copy."""

import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import torch

from ce_engine import Slab, slabs

if TYPE_CHECKING:
    from ce_engine.gpu import Pipeline

CLASSES = 32_000
SMALL_ROWS, LARGE_ROWS = 32, 1024  # 4 MB and 131 MB of float32
DEPTHS = (1, 2, 3, 4)
PIECES = (2, 4, 8, 16, 32, 64)  # MiB
MIB = 2**20


def lines(runs: int) -> Iterator[str]:
    """Small slabs by the number of pieces in flight, and a large one by the size of its pieces."""
    yield f"{'from host memory and back':<60}{'ms':>9}{'GB/s':>9}"
    yield _bare_copy(runs)
    for depth, grad in product(DEPTHS, (False, True)):
        yield _measured(f"depth {depth}", SMALL_ROWS, runs, grad=grad, depth=depth)
    for size, grad in product(PIECES, (False, True)):
        yield _measured(f"pieces of {size} MiB", LARGE_ROWS, max(1, runs // 16), grad=grad, piece_bytes=size * MIB)


def _bare_copy(runs: int) -> str:
    pinned = torch.randn(SMALL_ROWS, CLASSES).pin_memory()
    there = torch.empty_like(pinned, device="cuda")
    seconds = _seconds(lambda: [there.copy_(pinned, non_blocking=True) for _ in range(runs)])
    return _line("pinned host memory to device", seconds / runs, pinned.nbytes)


def _measured(what: str, rows: int, runs: int, *, grad: bool, **options: int) -> str:
    from ce_engine.gpu import CudaDevice, Pipeline  # needs Triton

    pipeline = Pipeline(CudaDevice(), **options)
    slab = slabs.cross_entropy(torch.randn(rows, CLASSES), torch.randint(CLASSES, (rows,)), grad=grad)
    seconds = _seconds(lambda: _run(pipeline, slab, runs)) / runs
    return _line(f"{rows} x {CLASSES} float32, {what}, {'gradient' if grad else 'forward'}", seconds, slab.nbytes)


def _run(pipeline: "Pipeline[Any]", slab: Slab, runs: int) -> None:
    for ticket in [pipeline.start([slab]) for _ in range(runs)]:
        ticket.result()


def _line(what: str, seconds: float, nbytes: int) -> str:
    return f"{what:<60}{seconds * 1e3:9.3f}{nbytes / seconds / 1e9:9.1f}"


def _seconds(work: Callable[[], object]) -> float:
    work()
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start
