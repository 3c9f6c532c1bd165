"""From the losses of rows to the loss of a batch: in float64 and in row order, so that its bits never vary."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._plans.options import EMPTY_MEANS

GROUP_ROWS = 1024
PART_ROWS = 256 * GROUP_ROWS  # rows that are widened to float64 at a time


class Reduction(NamedTuple):
    """How a batch is reduced; all of it is known before the first row is computed.

    Attributes:
        kind: ``none``, ``mean`` or ``sum``.
        empty: What ``mean`` is when no row counts: ``nan`` or ``zero``.
        shape: The loss's shape with kind ``none``.
        weight_sum: What ``mean`` divides by.
        ignored_count: Rows that do not count.
        row_weight: (R) float64, whose sum is `weight_sum`; None if that is the number of rows that count.
    """

    kind: str
    empty: str
    shape: torch.Size
    weight_sum: float
    ignored_count: int
    row_weight: Tensor | None = None

    @property
    def row_count(self) -> int:
        return self.shape.numel() - self.ignored_count

    @property
    def divisor(self) -> float:
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
            scale = torch.tensor(_quotient(1.0, self.divisor), dtype=dtype, device="cpu")
        else:
            scale = (grad_output.detach().cpu().to(torch.float64) / self.divisor).to(dtype).reshape(-1)
        return scale.expand(self.shape.numel())

    def loss(
        self,
        losses: Tensor,  # (R)
        loss_sum: float,
    ) -> Tensor:
        if self.kind == "none":
            return losses.reshape(self.shape)
        # Not a scalar_tensor, which refuses numbers beyond the dtype's range.
        return torch.tensor(self.reduced(loss_sum), dtype=losses.dtype, device=losses.device)

    def reduced(self, loss_sum: float) -> float:
        """The loss of the batch, for ``mean`` and ``sum``."""
        if self.kind == "sum":
            return loss_sum
        return _quotient(loss_sum, self.weight_sum) if self.row_count else EMPTY_MEANS[self.empty]


def _quotient(a: float, b: float) -> float:
    """Divides as IEEE 754 does. Python would raise for a divisor of 0."""
    return a / b if b else a * math.copysign(math.inf, b)


def row_order_sum(x: Tensor) -> float:
    """Adds up (R) in float64: rows within groups, and then the groups from first to last.

    The groups depend on R alone, and PyTorch adds up a group on one thread, so that the sum has the same bits on any
    number of threads. A plain ``sum`` does not. A plain ``cumsum`` does, but takes as long as the losses of elements.
    """
    return row_order_sums(x).item()


def row_order_sums(
    x: Tensor,  # (..., R)
) -> Tensor:  # (...) float64
    """`row_order_sum` of each (R), with the same bits."""
    rows = x.shape[-1]
    grouped = rows - rows % GROUP_ROWS
    if not grouped:
        return x.sum(-1, dtype=torch.float64)
    rest = x[..., grouped:].sum(-1, dtype=torch.float64)
    parts = torch.split(x[..., :grouped], PART_ROWS, dim=-1)
    groups = [part.view(*x.shape[:-1], -1, GROUP_ROWS).sum(-1, dtype=torch.float64) for part in parts]
    return torch.cat([*groups, rest[..., None]], -1).cumsum(-1)[..., -1]


class RowOrderSum:
    """`row_order_sum` of numbers that come in slabs, with the same bits."""

    def __init__(self) -> None:
        self._groups = 0.0
        self._rest: list[Tensor] = []
        self._rest_rows = 0
        self._count = 0

    def add(
        self,
        x: Tensor,  # (R), always of the same dtype
    ) -> None:
        self._rest.append(x)
        self._rest_rows += len(x)
        if self._rest_rows < GROUP_ROWS:
            return
        x = torch.cat(self._rest)
        grouped = len(x) - len(x) % GROUP_ROWS
        for part in torch.split(x[:grouped], PART_ROWS):
            groups = part.view(-1, GROUP_ROWS).sum(1, dtype=torch.float64)
            self._groups = float(torch.cat([groups.new_tensor([self._groups]), groups]).cumsum(0)[-1])
        self._rest, self._rest_rows = [x[grouped:].clone()], len(x) - grouped

    def add_weights(self, weights: Tensor | None, rows: int, ignored: int) -> None:
        """Adds the weights of rows. None stands for 1 for each row, and for 0 for each ignored row."""
        if weights is None and ignored < rows:
            self._count += rows - ignored
        else:
            self.add(torch.zeros(rows, dtype=torch.float64) if weights is None else weights)

    def total(self) -> float:
        rest = float(torch.cat(self._rest).sum(dtype=torch.float64)) if self._rest else 0.0
        return self._groups + rest + self._count
