"""Hidden states, a head and targets to evaluate, and a check of the answers."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.batch import Answer, WrongAnswerError
from ce_engine import Head, Norm

EPS = 1e-5
CHECKED_ROWS, TILE_ROWS = 8, 64  # whose gradients, and whose losses at a time: in float64
TOLERANCES = {"float32": (1e-5, 1e-4), "bfloat16": (1.5e-2, 5e-2)}  # of the loss, and of a row's gradient
PYTORCH_TOLERANCE = 5e-2  # of its losses: with options it is off by 2.3e-2 in bfloat16 at 32,000 classes


@dataclass(frozen=True)
class Case:
    """So many hidden states of a width, and a head of so many classes. The loss is the mean."""

    rows: int
    width: int
    classes: int
    dtype: str
    grad: bool
    norm: bool = False

    def __str__(self) -> str:
        norm, what = " normed" if self.norm else "", "forward + gradient" if self.grad else "forward"
        return f"{self.rows} x {self.width} to {self.classes} {self.dtype}{norm}, {what}"

    def states(self) -> Tensor:  # (N, H)
        return self._random(0, self.rows, self.width)

    def weight(self) -> Tensor:  # (V, H)
        return self._random(1, self.classes, self.width).mul_(self.width**-0.5)

    def norm_weight(self) -> Tensor | None:  # (H)
        return self._random(2, self.width).abs() + 0.5 if self.norm else None

    def target(self) -> Tensor:  # (N)
        return torch.randint(self.classes, (self.rows,), generator=torch.Generator().manual_seed(3))

    def head(self) -> Head:
        """The engine's."""
        weight = self.norm_weight()
        return Head(self.weight(), norm=None if weight is None else Norm("rms", EPS, weight))

    def check(self, answer: Answer) -> None:
        """Compares an answer with PyTorch in float64: the loss, and the gradients of the first rows.

        Raises:
            WrongAnswerError: The two differ by more than rounding.
        """
        if self.grad != (answer.grad is not None):
            raise WrongAnswerError(f"{self}: expected a gradient and got none, or got one that was not asked for")
        self.check_loss(answer)
        if answer.grad is not None:
            weight, norm_weight, checked = self.weight().double(), self.norm_weight(), slice(0, CHECKED_ROWS)
            leaf = self.states()[checked].double().requires_grad_()
            (grad,) = torch.autograd.grad(self._loss(leaf, weight, norm_weight, self.target()[checked]), leaf)
            self._hold(grad / self.rows, answer.grad[checked], TOLERANCES[self.dtype][1])

    def check_loss(self, answer: Answer, tolerance: float | None = None) -> None:
        """The same of the loss alone, with the dtype's tolerance unless another is given."""
        weight, norm_weight = self.weight().double(), self.norm_weight()
        states, target = self.states().double(), self.target()
        total = 0.0
        for start in range(0, self.rows, TILE_ROWS):
            rows = slice(start, start + TILE_ROWS)
            total += self._loss(states[rows], weight, norm_weight, target[rows]).item()
        self._hold(
            torch.tensor(total / self.rows), torch.tensor(float(answer.loss)), tolerance or TOLERANCES[self.dtype][0]
        )

    def _loss(self, states: Tensor, weight: Tensor, norm_weight: Tensor | None, target: Tensor) -> Tensor:
        if norm_weight is not None:
            states = F.rms_norm(states, (self.width,), norm_weight.double(), EPS)
        return F.cross_entropy(states @ weight.t(), target, reduction="sum")

    def _hold(self, truth: Tensor, actual: Tensor, tolerance: float) -> None:
        error = (actual.double() - truth).norm(dim=-1) / truth.norm(dim=-1)  # 0-dimensional tensors have this norm too
        if not (error <= tolerance).all():
            raise WrongAnswerError(f"{self}: off by {error.max():.1e} of {truth.norm():.1e}")

    def _random(self, seed: int, *shape: int) -> Tensor:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return x.to(getattr(torch, self.dtype))
