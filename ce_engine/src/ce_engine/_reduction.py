"""From the losses of rows to the loss of a batch: in float64 and in row order, so that its bits never vary."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._memory import CPU
from ce_engine._plans.options import EMPTY_MEANS
from ce_engine._result import LossResult
from ce_engine._sums.row_order import row_order_sum

LARGEST = {dtype: torch.finfo(dtype).max for dtype in (torch.float64, torch.float32)}


class Reduction(NamedTuple):
    """How a batch is reduced; all of it is known before the first row is computed.

    Attributes:
        kind: ``none``, ``mean`` or ``sum``.
        empty: What ``mean`` is when no row counts: ``nan`` or ``zero``.
        shape: The loss's shape with kind ``none``.
        weight_sum: What ``mean`` divides by.
        ignored_count: Rows that do not count.
        row_weight: (R) float64, whose sum is `weight_sum`; None if that is the number of rows that count.
        given_divisor: What ``mean`` divides by in place of `weight_sum`; None for that.
    """

    kind: str
    empty: str
    shape: torch.Size
    weight_sum: float
    ignored_count: int
    row_weight: Tensor | None = None
    given_divisor: float | None = None

    @property
    def row_count(self) -> int:
        return self.shape.numel() - self.ignored_count

    def of_part(
        self,
        rows: slice,
        ignored: Tensor | None,  # (r), of these rows
    ) -> "Reduction":
        """How some of the rows count by themselves."""
        count = rows.stop - rows.start
        ignored_count = 0 if ignored is None else int(ignored.count_nonzero())
        weight = None if self.row_weight is None else self.row_weight[rows]
        weight_sum = float(count - ignored_count) if weight is None else row_order_sum(weight)
        return self._replace(
            shape=torch.Size((count,)), weight_sum=weight_sum, ignored_count=ignored_count, row_weight=weight
        )

    @property
    def divisor(self) -> float:
        if self.given_divisor is not None:
            return self.given_divisor
        return self.weight_sum if self.kind == "mean" else 1.0

    @property
    def loss_shape(self) -> torch.Size:
        return self.shape if self.kind == "none" else torch.Size()

    def row_scale(
        self,
        grad_output: Tensor | None,  # of the loss's shape
        dtype: torch.dtype,
    ) -> Tensor:  # (R), a view of one number if all rows share it
        """The factor for each row's gradient: the incoming gradient, divided as ``mean`` divides."""
        if grad_output is None:
            scale = _scalar(_quotient(1.0, self.divisor), dtype, CPU)
        else:
            scale = grad_output.detach().cpu().reshape(-1)
            wide = scale if self.divisor == 1 else scale.to(torch.float64) / self.divisor
            scale = wide.to(dtype, copy=True).resolve_neg()
        return scale.expand(self.shape.numel())

    def result(
        self,
        losses: Tensor,  # (R)
        grad: Tensor | None,
    ) -> LossResult:
        """The result of a batch without other outputs."""
        loss_sum = row_order_sum(losses)
        loss = self.loss(losses, loss_sum)
        return LossResult(loss, loss_sum, self.weight_sum, self.row_count, self.ignored_count, grad)

    def loss(
        self,
        losses: Tensor,  # (R)
        loss_sum: float,
    ) -> Tensor:
        if self.kind == "none":
            return losses.reshape(self.shape)
        return _scalar(self.reduced(loss_sum), losses.dtype, losses.device)

    def reduced(self, loss_sum: float) -> float:
        """The loss of the batch, for ``mean`` and ``sum``."""
        if self.kind == "sum":
            return loss_sum
        if not self.row_count and self.given_divisor is None:
            return EMPTY_MEANS[self.empty]
        return _quotient(loss_sum, self.divisor)


def _scalar(number: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    if -LARGEST[dtype] <= number <= LARGEST[dtype]:
        return torch.scalar_tensor(number, dtype=dtype, device=device)
    return torch.tensor(number, dtype=dtype, device=device)  # slower, but takes numbers beyond the dtype's range


def _quotient(a: float, b: float) -> float:
    """Divides as IEEE 754 does. Python would raise for a divisor of 0."""
    return a / b if b else a * math.copysign(math.inf, b)
