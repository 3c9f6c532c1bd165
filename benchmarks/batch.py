"""Batches to evaluate, their answers, and a check of these. Every contestant's process imports this file."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.losses import LOSSES, Loss

CHECKED_ROWS = 8  # at a time: a large temporary tensor would change the contestant's malloc
# Relative errors of the loss and of each gradient, and absolute ones of a gradient of the sum. In bfloat16 PyTorch
# itself rounds a log-softmax near -11 by up to 0.03, and its mean of 65,536 losses is 1.3 % too small.
HALF_TOLERANCES = 1.5e-2, 1e-1, 5e-3
TOLERANCES = {
    "float64": (1e-10, 1e-9, 1e-12),
    "float32": (1e-5, 1e-3, 1e-7),
    "float16": HALF_TOLERANCES,
    "bfloat16": HALF_TOLERANCES,
}


class WrongAnswerError(Exception):
    """A contestant does not compute what it is measured for."""


@dataclass(frozen=True)
class Batch:
    """Inputs and targets to evaluate, with the gradient or without it. The loss is the mean."""

    rows: int
    classes: int
    dtype: str
    grad: bool
    loss: str = "cross_entropy"  # of LOSSES

    def __str__(self) -> str:
        what = "forward + gradient" if self.grad else "forward"
        return f"{self.loss} of {self.rows} x {self.classes} {self.dtype} {what}"

    @property
    def kind(self) -> Loss:
        return LOSSES[self.loss]

    @property
    def torch_dtype(self) -> torch.dtype:
        dtype = getattr(torch, self.dtype)
        assert isinstance(dtype, torch.dtype)
        return dtype

    def tensors(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(self.rows, self.classes, generator=generator)
        x = self.kind.input(logits).to(self.torch_dtype)
        return x, self.kind.target(self.rows, self.classes, self.torch_dtype, generator)

    def check(self, answer: "Answer") -> None:
        """As the function `check`."""
        check(self, answer)


class Answer(NamedTuple):
    """The mean loss, and its gradient if the batch asks for it."""

    loss: Any  # anything that float() takes
    grad: Tensor | None = None


Run = Callable[[], Answer]


class Checked(Protocol):
    """What contestants are prepared for."""

    def check(self, answer: Answer) -> None: ...


Prepare = Callable[[Batch], AbstractContextManager[Run]]  # for one caller: callers in flight prepare one each


def check(batch: Batch, answer: Answer) -> None:
    """Compares an answer with PyTorch in float64.

    Raises:
        WrongAnswerError: The two differ by more than rounding.
    """
    x, target = batch.tensors()
    loss_tolerance, grad_tolerance, grad_distance = TOLERANCES[batch.dtype]
    if batch.grad != (answer.grad is not None):
        raise WrongAnswerError(f"{batch}: expected a gradient and got none, or got one that was not asked for")
    total, count = 0.0, batch.kind.divisor(x)
    for start in range(0, batch.rows, CHECKED_ROWS):
        rows = slice(start, start + CHECKED_ROWS)
        leaf = x[rows].double().requires_grad_()
        wide = target[rows].double() if target.is_floating_point() else target[rows]
        loss = batch.kind.torch(leaf, wide, reduction="sum", **batch.kind.options)
        total += loss.item()
        if answer.grad is not None:
            (grad,) = torch.autograd.grad(loss, leaf)
            _hold(batch, "gradient", answer.grad[rows], grad / count, grad_tolerance, grad_distance / count)
    _hold(batch, "loss", torch.tensor(float(answer.loss)), torch.tensor(total / count), loss_tolerance, 0.0)


def _hold(batch: Batch, what: str, actual: Tensor, truth: Tensor, relative: float, absolute: float) -> None:
    try:
        torch.testing.assert_close(actual.double(), truth.double(), rtol=relative, atol=absolute)
    except AssertionError as error:
        raise WrongAnswerError(f"{batch}: the {what} is wrong: {error}") from error


def as_array(tensor: Tensor) -> npt.NDArray[Any]:
    """A view of a tensor, as a numpy array."""
    if tensor.dtype != torch.bfloat16:
        return tensor.numpy()
    import ml_dtypes  # brings bfloat16 to numpy

    return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)


def as_tensor(array: npt.NDArray[Any]) -> Tensor:
    """A view of an array that `as_array` made, as a tensor."""
    if array.dtype.name != "bfloat16":
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)


def as_bytes(tensor: Tensor) -> memoryview:
    """A view of a tensor's memory."""
    return tensor.view(-1).view(torch.uint8).numpy().data
