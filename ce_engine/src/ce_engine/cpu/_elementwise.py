"""Binary cross-entropy, block by block of elements, from probabilities or logits.

It uses only operators whose bits do not depend on an element's position. ``torch.sigmoid`` is not one: it computes the
last few elements of a tensor, which do not fill a vector, differently from the others.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ce_engine._clamps import LEAST_LOG, LEAST_VARIANCE
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._memory import scratch
from ce_engine._rows import Block, blocks
from ce_engine.cpu._dense import deliver, widened, working_memory


class ElementKernel(ABC):
    boundary: float  # inputs above it are predicted to be positive

    def __init__(self, kind: Kind, x: Tensor, target: Tensor | None, rows: Rows) -> None:
        self._dtype = kind.compute_dtype
        self._blocks = blocks(x, self._dtype.itemsize)
        self._x = x.reshape(-1)
        self._target = present(target).reshape(-1)
        self._rows = rows

    def __call__(self, out: RowResults) -> None:
        for block in self._blocks:
            self._evaluate(block, out)

    def _evaluate(self, block: Block, out: RowResults) -> None:
        out = out.part(block).map(lambda numbers: numbers, lambda elements: elements.view(-1))
        rows = self._rows.part(block.rows)
        x = self._widened(self._x[block.rows], "x")
        target = self._widened(self._target[block.rows], "target")
        self._losses(x, target, rows, out.losses)
        _weigh(out.losses, rows)
        if out.grad is not None:
            slope = working_memory(out.grad, x, self._dtype, "grad")
            self._slope(x, target, rows, slope)
            _weigh(slope.mul_(present(rows.scale)), rows)
            deliver((slope,), (out.grad,))
        if out.entropy is not None:
            self._entropies(x, rows, out.entropy)
        if out.probabilities is not None:
            self._probabilities(x, out.probabilities)
        if out.log_probabilities is not None:
            self._log_probabilities(x, out.log_probabilities)
        if out.predictions is not None and out.correct is not None:
            positive = x > self.boundary
            out.predictions.copy_(positive)
            torch.eq(positive, target > 0.5, out=out.correct)

    def _widened(self, x: Tensor, name: str) -> Tensor:
        return widened(x, scratch.like(x, self._dtype, name))

    def _scratch(self, like: Tensor, name: str) -> Tensor:
        return scratch.like(like, self._dtype, name)

    @abstractmethod
    def _losses(self, x: Tensor, target: Tensor, rows: Rows, out: Tensor) -> None:
        """The losses without their weights."""

    @abstractmethod
    def _slope(self, x: Tensor, target: Tensor, rows: Rows, out: Tensor) -> None:
        """The derivative of the losses without their weights."""

    @abstractmethod
    def _entropies(self, x: Tensor, rows: Rows, out: Tensor) -> None: ...

    @abstractmethod
    def _probabilities(self, x: Tensor, out: Tensor) -> Tensor: ...

    @abstractmethod
    def _log_probabilities(self, x: Tensor, out: Tensor) -> Tensor: ...


class BinaryKernel(ElementKernel):
    """Of probabilities: the loss is -t log x - (1 - t) log(1 - x)."""

    boundary = 0.5

    def _losses(self, x: Tensor, target: Tensor, rows: Rows, out: Tensor) -> None:  # noqa: ARG002 - no pos_weight
        log_x = self._log_probabilities(x, self._scratch(x, "a")).mul_(target)
        torch.neg(x, out=out).log1p_().clamp_(min=LEAST_LOG)
        out.mul_(torch.sub(target, 1, out=self._scratch(x, "b"))).sub_(log_x)

    def _slope(self, x: Tensor, target: Tensor, rows: Rows, out: Tensor) -> None:  # noqa: ARG002
        variance = torch.neg(x, out=self._scratch(x, "a")).add_(1).mul_(x).clamp_(min=LEAST_VARIANCE)
        torch.sub(x, target, out=out).div_(variance)

    def _entropies(self, x: Tensor, rows: Rows, out: Tensor) -> None:
        """The losses of the probabilities as their own targets."""
        self._losses(x, x, rows, out)

    def _probabilities(self, x: Tensor, out: Tensor) -> Tensor:
        return out.copy_(x)

    def _log_probabilities(self, x: Tensor, out: Tensor) -> Tensor:
        return torch.log(x, out=out).clamp_(min=LEAST_LOG)


class BinaryWithLogitsKernel(ElementKernel):
    """Of logits: with q the weight of positive targets, the loss is (1 - t) x - (1 + (q - 1) t) log sigmoid(x)."""

    boundary = 0.0

    def _losses(self, x: Tensor, target: Tensor, rows: Rows, out: Tensor) -> None:
        log_p = self._log_probabilities(x, self._scratch(x, "a"))
        if rows.pos_weight is not None:
            log_p.mul_(torch.sub(rows.pos_weight, 1, out=self._scratch(x, "b")).mul_(target).add_(1))
        torch.neg(target, out=out).add_(1).mul_(x).sub_(log_p)

    def _slope(self, x: Tensor, target: Tensor, rows: Rows, out: Tensor) -> None:
        p = self._probabilities(x, out)
        if rows.pos_weight is None:
            p.sub_(target)
            return
        positive = torch.mul(rows.pos_weight, target, out=self._scratch(x, "a"))
        p.mul_(torch.sub(positive, target, out=self._scratch(x, "b")).add_(1)).sub_(positive)

    def _entropies(self, x: Tensor, rows: Rows, out: Tensor) -> None:  # noqa: ARG002 - pos_weight changes no probability
        """log(1 + exp(-|x|)) + |x| exp(-|x|) / (1 + exp(-|x|)): no term is negative, and both are 0 for infinite x."""
        size = torch.abs(x, out=self._scratch(x, "a")).clamp_(max=torch.finfo(x.dtype).max)  # infinity times 0 is NaN
        odds = torch.neg(size, out=self._scratch(x, "b")).exp_()
        torch.log1p(odds, out=out)
        out.add_(size.mul_(odds).div_(odds.add_(1)))

    def _probabilities(self, x: Tensor, out: Tensor) -> Tensor:
        """exp(min(x, 0)) / (1 + exp(-|x|)), which overflows nowhere."""
        odds = torch.abs(x, out=self._scratch(x, "c")).neg_().exp_().add_(1)
        return torch.clamp(x, max=0, out=out).exp_().div_(odds)

    def _log_probabilities(self, x: Tensor, out: Tensor) -> Tensor:
        """min(x, 0) - log(1 + exp(-|x|))."""
        tail = torch.abs(x, out=self._scratch(x, "c")).neg_().exp_().log1p_()
        return torch.clamp(x, max=0, out=out).sub_(tail)


def _weigh(numbers: Tensor, rows: Rows) -> None:
    if rows.weight is not None:
        numbers.mul_(rows.weight)
