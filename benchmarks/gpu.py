"""Measures the kernels on a GPU beside PyTorch and a copy within its memory. Run it with ``make bench-gpu``.

The kernels' tensors are on the device, and each run takes another set of them, so that none comes from a cache. Times
are medians by CUDA events. Bytes are the least that a loss must read and write; a copy reads its input and writes it.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ce_engine import Slab, slabs

CLASS_COUNTS = (10, 100, 1000, 4096, 8192, 16_384, 32_000, 50_257, 65_536, 131_072, 262_144)
DTYPES = (torch.float32, torch.bfloat16)
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
PEERS = ("eager", "compiled", "Liger")
Loss = Callable[[Tensor, Tensor], Tensor]
SETS = 2
SET_BYTES, SMOKE_BYTES = 2**30, 2**26  # of input: many times an L2 cache
WARM_UP_RUNS = 3
CHECKED_ROWS = 64
SECTOR_BYTES = 32  # the least that is read of a GPU's memory


@dataclass(frozen=True)
class Case:
    """A loss for some shape and dtype, forward or with its gradient."""

    loss: str
    classes: int
    dtype: torch.dtype
    grad: bool
    label_smoothing: float = 0.0
    probabilities: bool = False

    def __str__(self) -> str:
        what = "probabilities " if self.probabilities else "smoothed " if self.label_smoothing else ""
        dtype = str(self.dtype).removeprefix("torch.")
        return f"{self.loss} {what}C={self.classes} {dtype} {'gradient' if self.grad else 'forward'}"

    @property
    def options(self) -> dict[str, float]:
        return {"label_smoothing": self.label_smoothing} if self.label_smoothing else {}

    def tensors(self, nbytes: int) -> tuple[Tensor, Tensor]:
        rows = nbytes // (self.classes * self.dtype.itemsize)
        shape = (rows,) if self.loss in BINARY else (rows, self.classes)
        x = torch.randn(shape, dtype=self.dtype, device="cuda")
        if self.loss == "binary_cross_entropy":
            x.sigmoid_()
        if self.loss in BINARY or self.probabilities:
            return x, torch.rand(shape, dtype=self.dtype, device="cuda")
        return x, torch.randint(self.classes, (rows,), device="cuda")

    def function(self, input: Tensor, target: Tensor) -> Tensor:
        loss: Callable[..., Tensor] = getattr(F, self.loss)
        return loss(input, target, reduction="sum", **self.options)


def cases() -> Iterator[Case]:
    for dtype, grad in product(DTYPES, (False, True)):
        for classes in CLASS_COUNTS:
            yield Case("cross_entropy", classes, dtype, grad)
        for classes in (1000, 32_000):
            yield Case("cross_entropy", classes, dtype, grad, label_smoothing=0.1)
            yield Case("cross_entropy", classes, dtype, grad, probabilities=True)
            yield Case("nll_loss", classes, dtype, grad)
        for loss in BINARY:
            yield Case(loss, 1, dtype, grad)


class TensorSet:
    """The tensors of one run of a case."""

    def __init__(self, case: Case, nbytes: int) -> None:
        from ce_engine.gpu._transfer import Transfer  # needs Triton

        self._case = case
        self.input, self.target = case.tensors(nbytes)
        slab = getattr(slabs, case.loss)(self.input, self.target, reduction="sum", grad=case.grad, **case.options)
        self._transfer = Transfer.of_slab(slab)
        self._inputs, self._outputs = (
            torch.empty(packing.nbytes, dtype=torch.uint8, device="cuda")
            for packing in (self._transfer.inputs, self._transfer.outputs)
        )
        self._transfer.fill(self._inputs)
        self.nbytes = self._inputs.numel() + self._outputs.numel()
        if case.loss == "nll_loss":  # needs one number of each row
            self.nbytes += len(self.target) * SECTOR_BYTES - self.input.nbytes

    def ours(self) -> None:
        self._transfer.launch(self._inputs, self._outputs)

    def theirs(self, function: Loss) -> tuple[Tensor, ...]:
        if not self._case.grad:
            return (function(self.input, self.target),)
        leaf = self.input.detach().requires_grad_()
        return torch.autograd.grad(function(leaf, self.target), leaf)

    def copy(self) -> None:
        """Copies the input to where it was copied before."""
        self._inputs[: self.input.nbytes].view(self.input.dtype).copy_(self.input.view(-1))

    def check(self) -> None:
        """Compares the first rows with PyTorch in float64."""
        self.ours()
        views, first = self._transfer.outputs.views(self._outputs), slice(0, CHECKED_ROWS)
        leaf = self.input[first].double().requires_grad_()
        target = self.target[first].double() if self.target.is_floating_point() else self.target[first]
        loss = self._case.function(leaf, target)
        torch.testing.assert_close(views["losses"][first].double().sum(), loss.detach(), rtol=1e-5, atol=1e-4)
        if self._case.grad:
            (grad,) = torch.autograd.grad(loss, leaf)
            ours, size = views["grad"][first].double().view(grad.shape), float(grad.abs().max())
            torch.testing.assert_close(ours, grad, rtol=4 * torch.finfo(self._case.dtype).eps, atol=1e-6 * size)


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


def median(candidate: Callable[[TensorSet], object], sets: list[TensorSet], runs: int) -> float:
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


def measure_pipeline(runs: int) -> Iterator[str]:
    """From host memory and back, which is the least for a service."""
    from ce_engine.gpu import CudaDevice, Pipeline  # needs Triton

    x, target = torch.randn(32, 32_000), torch.randint(32_000, (32,))
    pinned, there = x.pin_memory(), torch.empty_like(x, device="cuda")
    copy = seconds_of(lambda: [there.copy_(pinned, non_blocking=True) for _ in range(runs)])
    yield f"{'pinned host memory to device':<60}{copy / runs * 1e3:9.3f}{runs * x.nbytes / copy / 1e9:9.1f}"
    for depth, grad in product((1, 2, 3, 4), (False, True)):
        pipeline = Pipeline(CudaDevice(), depth=depth)
        slab = slabs.cross_entropy(x, target, grad=grad)

        def run(pipeline: Pipeline[Any] = pipeline, slab: Slab = slab) -> None:
            for ticket in [pipeline.start([slab]) for _ in range(runs)]:
                ticket.result()

        seconds = seconds_of(run)
        what = f"pipeline of depth {depth}, {'gradient' if grad else 'forward'}"
        yield f"{what:<60}{seconds / runs * 1e3:9.3f}{runs * x.nbytes / seconds / 1e9:9.1f}"


def seconds_of(work: Callable[[], object]) -> float:
    work()
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=31, help="of each measurement (%(default)s)")
    parser.add_argument("--only", default="", help="cases whose description has this in it, as in 'C=32000 bfloat16'")
    parser.add_argument("--smoke", action="store_true", help="few runs of small sets: shows that it works, no more")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if not torch.cuda.is_available():
        print("not measured: PyTorch finds no CUDA device here")
        return
    import triton

    nbytes, runs = (SMOKE_BYTES, 3) if arguments.smoke else (SET_BYTES, arguments.runs)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}, {runs} runs")
    print(f"{'kernels':<60}{'ms':>9}{'GB/s':>9}{'/ copy':>9}" + "".join(f"{name + ' / ours':>15}" for name in PEERS))
    for case in cases():
        if arguments.only in str(case):
            print(measure(case, nbytes, runs), flush=True)
    print(f"{'slabs of 32 x 32000 float32 in host memory':<60}{'ms':>9}{'GB/s':>9}")
    for line in measure_pipeline(4 * runs):
        print(line)


if __name__ == "__main__":
    main()
