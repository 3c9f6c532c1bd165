"""The kernels beside PyTorch and a copy within the GPU's memory.

Their tensors are on the device, and each run takes another set of them, so that none comes from a cache. Times are
medians by CUDA events. Bytes are the least that a loss must read and write; a copy reads its input and writes it.
"""

import statistics
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from benchmarks.gpu.cases import Case, Loss, TensorSet, cases

T = TypeVar("T")

PEERS = ("eager", "compiled", "Liger")
SETS = 2
SET_BYTES, SMOKE_BYTES = 2**30, 2**26  # of input: many times an L2 cache
WARM_UP_RUNS = 3


def lines(only: str, runs: int, *, smoke: bool) -> Iterator[str]:
    """A line for each case whose description has `only` in it."""
    yield f"{'kernels':<60}{'ms':>9}{'GB/s':>9}{'/ copy':>9}" + "".join(f"{name + ' / ours':>15}" for name in PEERS)
    for case in cases():
        if only in str(case):
            yield measure(case, SMOKE_BYTES if smoke else SET_BYTES, runs)


def peers(case: Case) -> dict[str, Loss]:
    torch.compiler.reset()  # else it would reuse code that fits all shapes so far
    found: dict[str, Loss] = {"eager": case.function, "compiled": torch.compile(case.function, dynamic=False)}
    if case.loss == "cross_entropy" and not case.probabilities:
        try:
            from liger_kernel.transformers import LigerCrossEntropyLoss
        except ImportError:
            return found
        liger = LigerCrossEntropyLoss(reduction="sum", **case.options)
        found["Liger"] = liger  # the last, since it overwrites logits with their gradient
    return found


def measure(case: Case, nbytes: int, runs: int) -> str:
    sets = [TensorSet(case, nbytes) for _ in range(SETS)]
    for tensors in sets:
        tensors.check()
    ours, copy = median(TensorSet.ours, sets, runs), median(TensorSet.copy, sets, runs)
    rate, copy_rate = sets[0].nbytes / ours, 2 * sets[0].input.nbytes / copy
    ratios = {name: ratio(name, function, sets, runs, ours) for name, function in peers(case).items()}
    columns = "".join(f"{ratios.get(name, '-'):>15}" for name in PEERS)
    return f"{case!s:<60}{ours * 1e3:9.3f}{rate / 1e9:9.0f}{rate / copy_rate:9.2f}{columns}"


def ratio(name: str, function: Loss, sets: list[TensorSet], runs: int, ours: float) -> str:
    try:
        return f"{median(lambda tensors: tensors.theirs(function), sets, runs) / ours:.2f}"
    except Exception as error:  # noqa: BLE001 - a peer that cannot do it is no reason to stop
        print(f"{name} fails: {type(error).__name__}")
        return "not measured"


def median(candidate: Callable[[T], object], sets: list[T], runs: int) -> float:
    """Seconds."""
    for run in range(WARM_UP_RUNS):
        candidate(sets[run % len(sets)])
    events = [tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) for _ in range(runs)]  # type: ignore[no-untyped-call]
    for run, (start, end) in enumerate(events):
        start.record()
        candidate(sets[run % len(sets)])
        end.record()
    torch.cuda.synchronize()
    return 1e-3 * float(statistics.median(start.elapsed_time(end) for start, end in events))
