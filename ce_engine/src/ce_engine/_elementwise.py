"""Binary cross-entropy of a block of elements, from probabilities or logits.

Only operators whose bits do not depend on where an element stands: ``torch.sigmoid`` computes the last few of a tensor,
those that do not fill a vector, differently from the others.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ce_engine._dense import deliver, widened, working_memory
from ce_engine._memory import scratch
from ce_engine._slab import Kind, RowResults, Rows, present

LEAST_LOG = -100.0  # as in torch.nn.BCELoss, so that no loss is infinite
LEAST_VARIANCE = 1e-12  # as in its backward


class ElementBlocks(ABC):
    def __init__(self, kind: Kind) -> None:
        self._dtype = kind.compute_dtype

    def __call__(
        self,
        x: Tensor,  # (1, elements, 1)
        target: Tensor | None,  # as x
        rows: Rows,
        out: RowResults,
    ) -> None:
        flat = out.map(lambda numbers: numbers, lambda elements: elements.view(-1))
        x = widened(x.reshape(-1), self._scratch(x, "x"))
        target = widened(present(target).reshape(-1), self._scratch(x, "target"))
        out.losses.copy_(_weighted(self._losses(x, target, rows), rows))
        if flat.grad is not None:
            slope = self._slope(x, target, rows, working_memory(flat.grad, x, self._dtype, "grad"))
            deliver(_weighted(slope.mul_(present(rows.scale)), rows), flat.grad)
        if flat.probabilities is not None:
            self._probabilities(x, flat.probabilities)
        if flat.log_probabilities is not None:
            self._log_probabilities(x, flat.log_probabilities)
        if out.predictions is not None and out.correct is not None:
            positive = x > self.boundary
            out.predictions.copy_(positive)
            torch.eq(positive, target > 0.5, out=out.correct)

    boundary: float  # inputs above it are predicted to be positive

    def _scratch(self, like: Tensor, name: str) -> Tensor:
        return scratch.like(like.view(-1), self._dtype, name)

    @abstractmethod
    def _losses(self, x: Tensor, target: Tensor, rows: Rows) -> Tensor: ...

    @abstractmethod
    def _slope(self, x: Tensor, target: Tensor, rows: Rows, out: Tensor) -> Tensor:
        """The derivative of the losses, in memory that is given."""

    @abstractmethod
    def _probabilities(self, x: Tensor, out: Tensor) -> Tensor: ...

    @abstractmethod
    def _log_probabilities(self, x: Tensor, out: Tensor) -> Tensor: ...


class BinaryBlocks(ElementBlocks):
    """Of probabilities: the loss is -t log x - (1 - t) log(1 - x)."""

    boundary = 0.5

    def _losses(self, x: Tensor, target: Tensor, rows: Rows) -> Tensor:  # noqa: ARG002 - no pos_weight
        log_x = self._log_probabilities(x, self._scratch(x, "a")).mul_(target)
        log_rest = torch.neg(x, out=self._scratch(x, "b")).log1p_().clamp_(min=LEAST_LOG)
        return log_rest.mul_(torch.sub(target, 1, out=self._scratch(x, "c"))).sub_(log_x)

    def _slope(self, x: Tensor, target: Tensor, rows: Rows, out: Tensor) -> Tensor:  # noqa: ARG002
        variance = torch.neg(x, out=self._scratch(x, "a")).add_(1)
        return torch.sub(x, target, out=out).div_(variance.mul_(x).clamp_(min=LEAST_VARIANCE))

    def _probabilities(self, x: Tensor, out: Tensor) -> Tensor:
        return out.copy_(x)

    def _log_probabilities(self, x: Tensor, out: Tensor) -> Tensor:
        return torch.log(x, out=out).clamp_(min=LEAST_LOG)


class BinaryWithLogitsBlocks(ElementBlocks):
    """Of logits: with q the weight of positive targets, the loss is (1 - t) x - (1 + (q - 1) t) log sigmoid(x)."""

    boundary = 0.0

    def _losses(self, x: Tensor, target: Tensor, rows: Rows) -> Tensor:
        log_p = self._log_probabilities(x, self._scratch(x, "a"))
        if rows.pos_weight is not None:
            log_p.mul_(torch.sub(rows.pos_weight, 1, out=self._scratch(x, "b")).mul_(target).add_(1))
        return torch.neg(target, out=self._scratch(x, "b")).add_(1).mul_(x).sub_(log_p)

    def _slope(self, x: Tensor, target: Tensor, rows: Rows, out: Tensor) -> Tensor:
        p = self._probabilities(x, out)
        if rows.pos_weight is None:
            return p.sub_(target)
        positive = torch.mul(rows.pos_weight, target, out=self._scratch(x, "a"))
        return p.mul_(torch.sub(positive, target, out=self._scratch(x, "b")).add_(1)).sub_(positive)

    def _probabilities(self, x: Tensor, out: Tensor) -> Tensor:
        """exp(min(x, 0)) / (1 + exp(-|x|)), which overflows nowhere."""
        odds = torch.abs(x, out=self._scratch(x, "c")).neg_().exp_().add_(1)
        return torch.clamp(x, max=0, out=out).exp_().div_(odds)

    def _log_probabilities(self, x: Tensor, out: Tensor) -> Tensor:
        """min(x, 0) - log(1 + exp(-|x|))."""
        tail = torch.abs(x, out=self._scratch(x, "c")).neg_().exp_().log1p_()
        return torch.clamp(x, max=0, out=out).sub_(tail)


def _weighted(numbers: Tensor, rows: Rows) -> Tensor:  # overwritten
    return numbers if rows.weight is None else numbers.mul_(rows.weight)
