"""Helpers for tests of several losses: PyTorch's answer, our answer, and simple data."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import ce_engine
from ce_engine import reference
from tests.present import present

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
HALVES = (torch.float16, torch.bfloat16)
INTEGERS = (
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint64,
    torch.uint32,
    torch.uint16,
    torch.uint8,
)
REDUCTIONS = ("none", "mean", "sum")
# Every kind of shape that PyTorch takes: (input, target).
SHAPES = {
    "one row": ((5,), ()),
    "batch": ((4, 5), (4,)),
    "one class": ((4, 1), (4,)),
    "one sample": ((1, 5), (1,)),
    "sequence": ((4, 5, 3), (4, 3)),
    "image": ((2, 5, 3, 4), (2, 3, 4)),
    "volume": ((2, 5, 3, 1, 2), (2, 3, 1, 2)),
    "empty batch": ((0, 5), (0,)),
    "empty image": ((2, 5, 0, 4), (2, 0, 4)),
}
# float64 is held to 1e-12; float32 to a few roundings of numbers of the size of the logits here.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-6}


@dataclass(frozen=True)
class Problem:
    """A loss and its arguments, for PyTorch and for us."""

    loss: str
    input: Tensor
    target: Tensor
    options: dict[str, Any]

    def ours(self, **more: Any) -> ce_engine.LossResult:
        options = {"grad": True, **self.options, **more}
        result: ce_engine.LossResult = getattr(ce_engine, self.loss)(self.input, self.target, **options)
        return result

    def theirs(self, grad_output: Tensor | None = None, **more: Any) -> tuple[Tensor, Tensor]:
        """The loss of ``torch.nn.functional``, and its gradient by autograd."""
        leaf = self.input.detach().clone().requires_grad_()
        loss = getattr(F, self.loss)(leaf, self.target, **self.options, **more)
        (grad,) = torch.autograd.grad(loss, leaf, torch.ones_like(loss) if grad_output is None else grad_output)
        return loss.detach(), grad

    def twin(self, **more: Any) -> ce_engine.LossResult:
        result: ce_engine.LossResult = getattr(reference, self.loss)(self.input, self.target, **self.options, **more)
        return result

    def to(self, dtype: torch.dtype) -> "Problem":
        def cast(x: Any) -> Any:
            return x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x

        options = {name: cast(option) for name, option in self.options.items()}
        return Problem(self.loss, cast(self.input), cast(self.target), options)


def problem(kind: str, shape: tuple[int, ...] = (4, 5, 3), dtype: torch.dtype = torch.float64) -> Problem:
    """One of PROBLEMS: each way of evaluating rows, with all kinds of weights."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    logits, target = torch.randn(shape, generator=generator, dtype=torch.float64) * 3, random(*shape)
    classes = shape[1] if len(shape) > 1 else shape[0]
    rows = shape[:1] + shape[2:] if len(shape) > 1 else ()
    index, weight = torch.randint(classes, rows, generator=generator), random(classes) + 0.5
    if rows and rows[0] > 2:
        index[2] = -100
    made: dict[str, Callable[[], tuple[str, Tensor, Tensor, dict[str, Any]]]] = {
        "cross_entropy": lambda: ("cross_entropy", logits, index, {"weight": weight}),
        "smoothed": lambda: ("cross_entropy", logits, index, {"weight": weight, "label_smoothing": 0.2}),
        "probabilities": lambda: ("cross_entropy", logits, target, {"weight": weight, "label_smoothing": 0.2}),
        "nll_loss": lambda: ("nll_loss", logits, index, {"weight": weight}),
        "binary": lambda: ("binary_cross_entropy", random(*shape), target, {"weight": random(*shape[1:])}),
        "with_logits": lambda: (
            "binary_cross_entropy_with_logits",
            logits,
            target,
            {"weight": random(*shape[1:]), "pos_weight": random(shape[-1]) * 2},
        ),
    }
    return Problem(*made[kind]()).to(dtype)


PROBLEMS = ("cross_entropy", "smoothed", "probabilities", "nll_loss", "binary", "with_logits")


def loss_shape(problem: Problem) -> torch.Size:
    """The shape of rows, which is the loss's shape with reduction none."""
    return problem.ours(reduction="none").loss.shape


def assert_close(result: ce_engine.LossResult, loss: Tensor, grad: Tensor | None, tolerance: float) -> None:
    torch.testing.assert_close(result.loss, loss, atol=tolerance, rtol=tolerance, equal_nan=True)
    torch.testing.assert_close(result.grad, grad, atol=tolerance, rtol=tolerance, equal_nan=True)


def assert_no_worse(
    ours: Tensor | None, theirs: Tensor, truth: Tensor | None, size: Tensor | float | None = None
) -> None:
    """Our error is at most PyTorch's error and one rounding of the largest number, or of a number of a given size."""
    ours, truth = present(ours), present(truth)
    finite = truth.isfinite()
    torch.testing.assert_close(ours[~finite].to(truth.dtype), truth[~finite], equal_nan=True)
    size = _largest(truth[finite]) if size is None else float(size)
    allowed = _largest((theirs - truth)[finite]) + torch.finfo(ours.dtype).eps * size
    assert _largest((ours - truth)[finite]) <= allowed


def _largest(x: Tensor) -> float:
    return max(x.abs().flatten().tolist(), default=0.0)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
