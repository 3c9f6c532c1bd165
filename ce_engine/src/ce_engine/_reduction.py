"""From the losses of rows to the loss of a batch: in float64 and in row order, so that it is always the same."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ce_engine._result import LossResult

REDUCTIONS = ("none", "mean", "sum")
EMPTY_MEANS = {"nan": float("nan"), "zero": 0.0}


@dataclass(frozen=True, eq=False)
class Reduction:
    """How a batch is reduced; all of it is known before the first row is computed.

    Attributes:
        kind: ``none``, ``mean`` or ``sum``.
        empty: What ``mean`` is when no row counts: ``nan`` or ``zero``.
        shape: The loss's shape with kind ``none``.
        weight_sum: What ``mean`` divides by.
        ignored_count: Rows that do not count.
    """

    kind: str
    empty: str
    shape: torch.Size
    weight_sum: float
    ignored_count: int

    def row_scale(
        self,
        grad_output: Tensor | None,  # of the loss's shape
        like: Tensor,  # (R)
    ) -> Tensor:  # (R)
        """The factor for each row's gradient: the incoming gradient, divided as ``mean`` divides."""
        scale = like.new_ones((), dtype=torch.float64) if grad_output is None else grad_output.to(torch.float64)
        if self.kind == "mean":
            scale = scale / self.weight_sum
        return scale.to(like.dtype).expand(self.shape).reshape(-1)

    def result(
        self,
        losses: Tensor,  # (R)
        grad: Tensor | None,
    ) -> LossResult:
        loss_sum = row_order_sum(losses)
        row_count = len(losses) - self.ignored_count
        if self.kind == "none":
            loss = losses.reshape(self.shape)
        elif self.kind == "sum":
            loss = losses.new_tensor(loss_sum)
        elif row_count == 0:
            loss = losses.new_tensor(EMPTY_MEANS[self.empty])
        else:  # divided by torch, since weights may sum to zero
            loss = (losses.new_tensor(loss_sum, dtype=torch.float64) / self.weight_sum).to(losses.dtype)
        return LossResult(loss, loss_sum, self.weight_sum, row_count, self.ignored_count, grad)


def row_order_sum(x: Tensor) -> float:
    """Adds up (R) in float64, first to last: unlike ``sum``, the same on any number of threads."""
    return float(x.cumsum(0, dtype=torch.float64)[-1]) if len(x) else 0.0
