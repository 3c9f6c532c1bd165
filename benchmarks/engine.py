"""Measures the engine beside PyTorch, without the service. Run it with ``make bench-engine``."""

import argparse
import os
import platform
import statistics
import sys

import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

import ce_engine
from benchmarks.batch import Batch
from benchmarks.contestants import MALLOC_KEEPS, Contestant, Way
from benchmarks.exact import SHAPES as EXACT_SHAPES
from benchmarks.exact import exact_sums
from benchmarks.losses import LOSSES
from benchmarks.timing import WARM_UP_RUNS, medians
from ce_engine._libraries import library, runnable

SHAPES = ((256, 32000), (65536, 100), (4096, 1000), (512, 32768))
LOSS_SHAPES = ((256, 32000), (4096, 1000))  # of the other losses
SMOKE_SHAPES = ((64, 100),)
DTYPES = ("float32", "bfloat16")
OTHER_DTYPES = ("float64", "float16")
CAPABILITIES = {"avx512": "avx512", "avx2": "avx2", "baseline": "default"}  # our names of instructions, and PyTorch's
OURS = "ce_engine"

CONTESTANTS = {
    "eager": Way("benchmarks.ways:eager"),
    "eager, malloc tuned": Way("benchmarks.ways:eager", environment=MALLOC_KEEPS),
    "torch.compile": Way("benchmarks.ways:compiled"),
    OURS: Way("benchmarks.ways:engine"),
}


def main() -> None:
    arguments = parse_arguments()
    if arguments.isa and os.environ.get("ATEN_CPU_CAPABILITY") != CAPABILITIES[arguments.isa]:
        # Read when PyTorch is loaded, by it and by the engine; contestants inherit it.
        os.environ["ATEN_CPU_CAPABILITY"] = CAPABILITIES[arguments.isa]
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.engine", *sys.argv[1:]])
    shapes, runs = (SMOKE_SHAPES, 3) if arguments.smoke else (SHAPES, arguments.runs)
    console = Console(width=150)
    console.print(heading())
    if not arguments.exact:
        console.print(large_batches(batches(shapes, SMOKE_SHAPES if arguments.smoke else LOSS_SHAPES), runs))
        console.print(small_batches(100 * runs))
    console.print(exact_sums(SMOKE_SHAPES if arguments.smoke else EXACT_SHAPES, runs))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=31, help="of each measurement (%(default)s)")
    parser.add_argument(
        "--isa",
        choices=runnable(),
        help="the best instructions that the engine and PyTorch may use; the best of this CPU if not given",
    )
    parser.add_argument("--exact", action="store_true", help="measure only what exact sums cost")
    parser.add_argument(
        "--smoke", action="store_true", help="a few runs of a small shape: shows that it works, no more"
    )
    return parser.parse_args()


def heading() -> str:
    """The machine, and the instructions that each side uses."""
    compiled = library()
    return (
        f"{_cpu()}, {torch.get_num_threads()} threads; torch {torch.__version__} uses "
        f"{torch.backends.cpu.get_cpu_capability()}, the engine "
        f"{'PyTorch operators, since nothing was compiled' if compiled is None else compiled.name}"
    )


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def batches(shapes: tuple[tuple[int, int], ...], loss_shapes: tuple[tuple[int, int], ...]) -> list[Batch]:
    """Cross-entropy of each shape in common dtypes, and then all losses of fewer shapes and in other dtypes."""
    common = [Batch(*shape, dtype, grad) for grad in (False, True) for dtype in DTYPES for shape in shapes]
    others = [Batch(*loss_shapes[-1], dtype, grad) for grad in (False, True) for dtype in OTHER_DTYPES]
    losses = [
        Batch(*shape, dtype, grad, loss)
        for loss in LOSSES
        if loss != "cross_entropy"
        for grad in (False, True)
        for dtype in DTYPES
        for shape in loss_shapes
    ]
    return common + others + losses


def large_batches(batches: list[Batch], runs: int) -> Table:
    others = [name for name in CONTESTANTS if name != OURS]
    headings = ("loss", "batch", "dtype", "gradient", *CONTESTANTS, *(f"{name} / ours" for name in others))
    table = Table(*headings, title=f"milliseconds, medians of {runs} runs in turns", title_justify="left")
    contestants = {name: Contestant(way) for name, way in CONTESTANTS.items()}
    try:
        for batch in batches:
            seconds = measure(contestants, batch, runs)
            times = [f"{seconds[name] * 1e3:.3f}" if name in seconds else "not measured" for name in CONTESTANTS]
            ratios = [f"{seconds[name] / seconds[OURS]:.2f}" if name in seconds else "" for name in others]
            shape = f"{batch.rows} x {batch.classes}"
            table.add_row(batch.loss, shape, batch.dtype, "yes" if batch.grad else "no", *times, *ratios)
    finally:
        for contestant in contestants.values():
            contestant.stop()
    return table


def measure(contestants: dict[str, Contestant], batch: Batch, runs: int) -> dict[str, float]:
    """Median seconds of each contestant that can compute the batch: torch.compile needs a C++ compiler."""
    able = {name: contestant for name, contestant in contestants.items() if _prepare(contestant, batch)}
    turns = [{name: each.seconds() for name, each in able.items()} for _ in range(WARM_UP_RUNS + runs)]
    return {name: statistics.median(turn[name] for turn in turns[WARM_UP_RUNS:]) for name in able}


def _prepare(contestant: Contestant, batch: Batch) -> bool:
    """Whether it can compute this batch; says so if not."""
    try:
        contestant.prepare(batch)
    except RuntimeError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return False
    return True


def small_batches(runs: int) -> Table:
    """What a small batch takes at once, and what it costs to hand it to the engine's thread and get the result back."""
    table = Table("32 x 10", "gradient", "microseconds", title="small batches, medians in turns", title_justify="left")
    for grad in (False, True):
        for name, seconds in (at_once_medians(runs, grad=grad) | handed_over_medians(runs, grad=grad)).items():
            table.add_row(name, "yes" if grad else "no", f"{seconds * 1e6:.1f}")
    return table


def at_once_medians(runs: int, *, grad: bool) -> dict[str, float]:
    logits, target = Batch(32, 10, "float32", grad).tensors()
    leaf = logits.clone().requires_grad_()

    def in_torch() -> object:
        return torch.autograd.grad(F.cross_entropy(leaf, target), leaf) if grad else F.cross_entropy(logits, target)

    candidates = {
        "F.cross_entropy": in_torch,
        "ce_engine.cross_entropy": lambda: ce_engine.cross_entropy(logits, target, grad=grad),
    }
    return medians(candidates, runs)


def handed_over_medians(runs: int, *, grad: bool) -> dict[str, float]:
    """While another thread works in between, everything takes longer: the caches hold other things."""
    logits, target = Batch(32, 10, "float32", grad).tensors()
    with ce_engine.Engine(torch_threads=1) as engine:
        seconds = medians(
            {
                "ce_engine.cross_entropy, between the next": lambda: ce_engine.cross_entropy(logits, target, grad=grad),
                "Engine.submit to result": lambda: engine.submit(
                    ce_engine.slabs.cross_entropy(logits, target, grad=grad)
                ).result(),
            },
            runs,
        )
    at_once, handed_over = seconds.values()
    return {**seconds, "of which handing over": handed_over - at_once}


if __name__ == "__main__":
    main()
