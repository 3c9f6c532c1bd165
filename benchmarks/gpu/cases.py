"""The losses, shapes and dtypes that the kernels are measured with, and their tensors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from ce_engine import slabs

CLASS_COUNTS = (10, 100, 1000, 4096, 8192, 16_384, 32_000, 50_257, 65_536, 131_072, 262_144)
DTYPES = (torch.float32, torch.bfloat16)
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
Loss = Callable[[Tensor, Tensor], Tensor]
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
