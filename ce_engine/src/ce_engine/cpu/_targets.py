"""Targets turn log-probabilities into losses, and probabilities into gradients.

With class weights w, C classes, label smoothing e and a target distribution y, which for a class index is 1 at that
class, a row's target is t_c = w_c ((1 - e) y_c + e / C), its loss is -sum_c t_c log p_c, and its gradient with respect
to logit j is p_j sum_c t_c - t_j (https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html). The
sample's weight, the reduction and the incoming gradient come after that, as one factor for the row.

z_loss adds z w s^2 to a row's loss, where s is its log-sum-exp, and w the weight of its target's class, or 1 for a
distribution; and so 2 z w s p_j to its gradient.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._memory import scratch
from ce_engine._rows import Block
from ce_engine._sums.row_order import row_order_sum
from ce_engine.cpu._dense import row_sums


class Target(ABC):
    """The targets of all rows of a launch, given out block by block."""

    def __init__(
        self,
        rows: Rows,
        weight: Tensor | None,  # (R), factor of the loss
        own_weight: Tensor | None = None,  # (R), w, as far as `weight` does not include it
    ) -> None:
        self._weight = weight
        self._own_weight = own_weight
        self._ignored = rows.ignored
        if rows.scale is not None:
            self._scale = (rows.scale if weight is None else rows.scale * weight)[:, None]

    @abstractmethod
    def log_likelihoods(
        self,
        log_p: Tensor,  # (rows, C)
        block: Block,
        out: Tensor,  # (rows)
    ) -> None:
        """The losses without their sign, weights and ignored rows: `finish` applies these to all rows at once."""

    @abstractmethod
    def grad(
        self,
        p: Tensor,  # (rows, C)
        block: Block,
        out: Tensor,  # as p, may be the same memory
        slope: Tensor | None,  # (rows), 2 z s; None without z_loss
    ) -> None:
        """The gradient, in which ignored rows are not 0 yet."""

    @abstractmethod
    def largest(self, block: Block) -> Tensor:  # (rows) int64
        """The class that a correct prediction has."""

    def add_z_losses(
        self,
        z_losses: Tensor,  # (rows), z s^2, overwritten
        block: Block,
        out: RowResults,  # whose losses are log-likelihoods
    ) -> None:
        """Adds them to the losses, and writes them, but for ignored rows, which are not 0 yet."""
        if self._own_weight is not None:
            z_losses.mul_(self._own_weight[block.rows])
        out.losses.sub_(z_losses)
        present(out.z_losses).copy_(z_losses if self._weight is None else z_losses.mul_(self._weight[block.rows]))

    def _with_slope(self, total: Tensor, slope: Tensor | None, block: Block) -> Tensor:  # (rows, 1)
        """What probabilities are times in the gradient: the sum of the targets, with what z_loss adds."""
        if slope is None:
            return total
        scale = self._scale[block.rows]
        return total + (slope if self._own_weight is None else slope * self._own_weight[block.rows])[:, None] * scale

    def finish(
        self,
        losses: Tensor,  # (R), of log-likelihoods
        grad: Tensor | None,  # (samples, positions, C)
    ) -> None:
        losses.neg_()
        if self._weight is not None:
            losses.mul_(self._weight)
        if self._ignored is not None:
            losses.masked_fill_(self._ignored, 0)
        if self._ignored is not None and grad is not None:
            rows, positions = self._ignored.nonzero()[:, 0], grad.shape[1]
            grad[rows // positions, rows % positions] = 0


class ClassTarget(Target):
    """One class a row; t is 0 elsewhere."""

    def __init__(self, rows: Rows, weight: Tensor | None, own_weight: Tensor | None = None) -> None:
        super().__init__(rows, weight, own_weight)
        self._index = present(rows.classes)[:, None]
        if rows.scale is not None:
            self._at_class = -self._scale

    def log_likelihoods(self, log_p: Tensor, block: Block, out: Tensor) -> None:
        torch.gather(log_p, 1, self._index[block.rows], out=out[:, None])

    def grad(self, p: Tensor, block: Block, out: Tensor, slope: Tensor | None) -> None:
        torch.mul(p, self._with_slope(self._scale[block.rows], slope, block), out=out)
        out.scatter_add_(1, self._index[block.rows], self._at_class[block.rows])

    def largest(self, block: Block) -> Tensor:
        return self._index[block.rows, 0]


class SmoothedTarget(ClassTarget):
    """One class a row. Label smoothing spreads a share of it over all classes."""

    def __init__(self, rows: Rows, kind: Kind) -> None:
        super().__init__(rows, rows.sample_weight, rows.weight)
        self._smooth, smooth_sum = smooth_target(kind)
        weight = self._smooth.new_ones(len(self._index)) if rows.weight is None else rows.weight
        self._hard = (weight * (1 - kind.label_smoothing))[:, None]  # (R, 1)
        if rows.scale is not None:
            self._total = (self._hard + smooth_sum).mul_(self._scale)
            self._at_class = (self._hard * self._scale).neg_()

    def log_likelihoods(self, log_p: Tensor, block: Block, out: Tensor) -> None:
        super().log_likelihoods(log_p, block, out)
        spread = torch.mul(log_p, self._smooth, out=scratch.like(log_p, log_p.dtype, "spread"))
        out.mul_(self._hard[block.rows, 0]).add_(row_sums(spread))

    def grad(self, p: Tensor, block: Block, out: Tensor, slope: Tensor | None) -> None:
        torch.mul(p, self._with_slope(self._total[block.rows], slope, block), out=out)
        out.addcmul_(self._scale[block.rows], self._smooth, value=-1)
        out.scatter_add_(1, self._index[block.rows], self._at_class[block.rows])


class ProbabilityTarget(Target):
    """A distribution a row."""

    def __init__(self, rows: Rows, kind: Kind, probabilities: Tensor) -> None:  # (samples, positions, C)
        super().__init__(rows, rows.sample_weight)
        self._kind = kind
        self._probabilities = probabilities
        self._class_weight = None if kind.class_weight is None else kind.class_weight.tensor.to(kind.compute_dtype)
        self._smooth = smooth_target(kind)[0] if kind.label_smoothing else None

    def _target(self, block: Block) -> Tensor:  # (rows, C): t
        part = self._probabilities[block.samples, block.positions]
        target = scratch.like(part, self._kind.compute_dtype, "target").copy_(part).view(-1, part.shape[-1])
        if self._smooth is not None:
            target.mul_(1 - self._kind.label_smoothing)
        if self._class_weight is not None:
            target.mul_(self._class_weight)
        return target if self._smooth is None else target.add_(self._smooth)

    def log_likelihoods(self, log_p: Tensor, block: Block, out: Tensor) -> None:
        target = self._target(block)
        out.copy_(row_sums(target.mul_(log_p)))

    def grad(self, p: Tensor, block: Block, out: Tensor, slope: Tensor | None) -> None:
        target, scale = self._target(block), self._scale[block.rows]
        torch.mul(p, self._with_slope(row_sums(target)[:, None].mul_(scale), slope, block), out=out)
        out.sub_(target.mul_(scale))

    def largest(self, block: Block) -> Tensor:
        part = self._probabilities[block.samples, block.positions]
        return part.argmax(2).view(-1)


def target_of(kind: Kind, rows: Rows, probabilities: Tensor | None) -> Target:
    if probabilities is not None:
        return ProbabilityTarget(rows, kind, probabilities)
    return SmoothedTarget(rows, kind) if kind.label_smoothing else ClassTarget(rows, rows.weight)


def smooth_target(kind: Kind) -> tuple[Tensor, float]:  # (C), w_c e / C; its sum
    weights = (
        torch.ones((), dtype=torch.float64, device="cpu") if kind.class_weight is None else kind.class_weight.tensor
    )
    smooth = (weights.to(torch.float64) * kind.label_smoothing / kind.class_count).expand(kind.class_count)
    return smooth.to(kind.compute_dtype), row_order_sum(smooth)
