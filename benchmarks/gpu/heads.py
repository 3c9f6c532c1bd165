"""Losses of hidden states beside a plain matrix product of the same shape, PyTorch's ways, and Liger's.

Tensors are on the device. Operations are those of the products: 2 N H V forward, and as many for the gradient.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import LinearCrossEntropyOptions
from torch.nn import functional as F

from benchmarks.gpu.kernels import median
from benchmarks.heads.case import Case

SHAPES, SMOKE_SHAPES = ((8192, 4096, 131_072), (1024, 4096, 128_256)), ((256, 256, 1024),)
DTYPES = ("bfloat16", "float32")
PEERS = ("no options", "options", "Liger")
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of states, weight and target


def lines(runs: int, *, smoke: bool) -> Iterator[str]:
    """A line for each shape, dtype and direction."""
    yield f"{'heads':<60}{'ms':>9}{'TFLOP/s':>9}{'/ mm':>9}" + "".join(f"{name + ' / ours':>19}" for name in PEERS)
    for shape, dtype, grad in product(SMOKE_SHAPES if smoke else SHAPES, DTYPES, (False, True)):
        yield _measured(Case(*shape, dtype, grad), runs)


class HeadSet:
    """The tensors of one case."""

    def __init__(self, case: Case, device: str = "cuda") -> None:
        from ce_engine import slabs

        self._case = case
        tensors = case.states(), case.weight(), case.target()
        self.states, self.weight, self.target = (x.to(device) for x in tensors)
        self._slab = slabs.linear_cross_entropy(self.states, case.head(), self.target, reduction="sum", grad=case.grad)

    def ours(self) -> Any:
        from ce_engine import gpu  # needs Triton

        slab = self._slab
        return gpu.evaluate(slab.kind, slab.input, slab.target, slab.rows, slab.row_count)

    def theirs(self, function: Loss) -> object:
        if not self._case.grad:
            return function(self.states, self.weight, self.target)
        leaf = self.states.detach().requires_grad_()
        return torch.autograd.grad(function(leaf, self.weight, self.target), leaf)

    def product(self) -> Tensor:
        return self.states @ self.weight.t()


def peers() -> dict[str, Loss]:
    summed = partial(F.linear_cross_entropy, reduction="sum")
    found: dict[str, Loss] = {"no options": summed, "options": partial(summed, options=LinearCrossEntropyOptions())}
    try:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
    except ImportError:
        return found
    liger = LigerFusedLinearCrossEntropyLoss(reduction="sum")
    return {**found, "Liger": lambda states, weight, target: liger(weight, states, target)}


def _measured(case: Case, runs: int) -> str:
    tensors = [HeadSet(case)]
    operations = 2 * case.rows * case.width * case.classes
    ours, plain = median(HeadSet.ours, tensors, runs), median(HeadSet.product, tensors, runs)
    rate, plain_rate = (2 if case.grad else 1) * operations / ours, operations / plain
    ratios = {name: _ratio(name, function, tensors, runs, ours) for name, function in peers().items()}
    columns = "".join(f"{ratios.get(name, '-'):>19}" for name in PEERS)
    return f"{case!s:<60}{ours * 1e3:9.3f}{rate / 1e12:9.1f}{rate / plain_rate:9.2f}{columns}"


def _ratio(name: str, function: Loss, tensors: list[HeadSet], runs: int, ours: float) -> str:
    try:
        return f"{median(lambda each: each.theirs(function), tensors, runs) / ours:.2f}"
    except Exception as error:  # noqa: BLE001 - a peer that cannot do it is no reason to stop
        print(f"{name} fails: {type(error).__name__}")
        return "not measured"
