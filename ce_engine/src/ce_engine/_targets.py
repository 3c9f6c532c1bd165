"""What a block of rows is held against: from log-probabilities to losses, and from probabilities to gradients.

With class weights w, C classes, label smoothing e and a target distribution y, which for a class index is 1 at that
class, a row's target is t_c = w_c ((1 - e) y_c + e / C), its loss is -sum_c t_c log p_c, and its gradient with respect
to logit j is p_j sum_c t_c - t_j (https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html). What
comes after that, a sample's weight, a reduction or an incoming gradient, is one factor for the row.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ce_engine._dense import row_sums
from ce_engine._memory import scratch
from ce_engine._slab import Rows, present


class Target(ABC):
    """What a block of rows is held against."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    @abstractmethod
    def losses(
        self,
        log_p: Tensor,  # (rows, C)
    ) -> Tensor:  # (rows)
        ...

    @abstractmethod
    def grad(
        self,
        p: Tensor,  # (rows, C)
        out: Tensor,  # as p, may be the same memory
    ) -> None: ...

    @abstractmethod
    def largest(self) -> Tensor:  # (rows) int64
        """The class that a prediction is right to be."""

    def _weighted(self, losses: Tensor, weight: Tensor | None) -> Tensor:  # (rows), overwritten
        if weight is not None:
            losses.mul_(weight)
        return losses if self._rows.ignored is None else losses.masked_fill_(self._rows.ignored, 0)

    def _scale(self, weight: Tensor | None) -> Tensor:  # (rows, 1)
        scale = present(self._rows.scale)
        return (scale if weight is None else scale * weight)[:, None]

    def _zero_ignored(self, grad: Tensor) -> None:
        if self._rows.ignored is not None:
            grad.index_fill_(0, self._rows.ignored.nonzero()[:, 0], 0)


class ClassTarget(Target):
    """One class a row; t is 0 elsewhere."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self.index = present(rows.classes)[:, None]

    def at_class(self, x: Tensor) -> Tensor:  # (rows, C) -> (rows)
        return x.gather(1, self.index)[:, 0]

    def losses(self, log_p: Tensor) -> Tensor:
        return self.losses_of(self.at_class(log_p).neg_())

    def losses_of(self, surprise: Tensor) -> Tensor:  # (rows): -log p of the class, overwritten
        return self._weighted(surprise, self._rows.weight)

    def grad(self, p: Tensor, out: Tensor) -> None:
        scale = self._scale(self._rows.weight)
        torch.mul(p, scale, out=out)
        out.scatter_add_(1, self.index, -scale)
        self._zero_ignored(out)

    def largest(self) -> Tensor:
        return self.index[:, 0]


class SmoothedTarget(ClassTarget):
    """One class a row, of which label smoothing has spread a share over all classes."""

    def __init__(self, rows: Rows, label_smoothing: float, smooth: Tensor, smooth_sum: float) -> None:
        super().__init__(rows)
        weight = smooth.new_ones(len(self.index)) if rows.weight is None else rows.weight
        self._hard = weight * (1 - label_smoothing)  # (rows)
        self._smooth = smooth  # (C), w_c e / C
        self._smooth_sum = smooth_sum

    def losses(self, log_p: Tensor) -> Tensor:
        spread = scratch.like(log_p, log_p.dtype, "spread")
        losses = row_sums(torch.mul(log_p, self._smooth, out=spread)).neg_()
        losses.sub_(self.at_class(log_p) * self._hard)
        return self._weighted(losses, self._rows.sample_weight)

    def grad(self, p: Tensor, out: Tensor) -> None:
        scale, hard = self._scale(self._rows.sample_weight), self._hard[:, None]
        torch.mul(p, (hard + self._smooth_sum).mul_(scale), out=out)
        out.addcmul_(scale, self._smooth, value=-1)
        out.scatter_add_(1, self.index, (hard * scale).neg_())
        self._zero_ignored(out)


class ProbabilityTarget(Target):
    """A distribution a row."""

    def __init__(
        self,
        rows: Rows,
        probabilities: Tensor,  # (samples, positions, C)
        label_smoothing: float,
        class_weight: Tensor | None,  # (C)
        smooth: Tensor | None,  # (C), w_c e / C
        dtype: torch.dtype,
    ) -> None:
        super().__init__(rows)
        target = scratch.like(probabilities, dtype, "target").copy_(probabilities).view(-1, probabilities.shape[-1])
        self._probabilities = probabilities
        if smooth is not None:
            target.mul_(1 - label_smoothing)
        if class_weight is not None:
            target.mul_(class_weight)
        self._target = target if smooth is None else target.add_(smooth)

    def losses(self, log_p: Tensor) -> Tensor:
        spread = scratch.like(log_p, log_p.dtype, "spread")
        losses = row_sums(torch.mul(log_p, self._target, out=spread)).neg_()
        return self._weighted(losses, self._rows.sample_weight)

    def grad(self, p: Tensor, out: Tensor) -> None:
        scale = self._scale(self._rows.sample_weight)
        torch.mul(p, row_sums(self._target)[:, None].mul_(scale), out=out)
        out.sub_(self._target.mul_(scale))

    def largest(self) -> Tensor:
        return self._probabilities.reshape(self._target.shape).argmax(1)
