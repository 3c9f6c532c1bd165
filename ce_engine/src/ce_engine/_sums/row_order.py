"""Sums of the losses or weights of rows: in float64 and in row order, so that their bits never vary."""

import torch
from torch import Tensor

from ce_engine._libraries import library

GROUP_ROWS = 1024  # as in native/sums/row_sums.h
PART_ROWS = 256 * GROUP_ROWS  # rows that are widened to float64 at a time


def row_order_sum(
    x: Tensor,  # (R)
    start: float = 0.0,
) -> float:
    """Adds up (R) in float64: rows within groups, and then the groups from first to last, after ``start``.

    The groups depend on R alone, and a group is added up in one way, so that the sum has the same bits on any number of
    threads. A plain ``sum`` does not. A plain ``cumsum`` does, but takes as long as the losses of elements.
    """
    compiled = library()
    if compiled is not None and x.is_cpu:
        x = x.contiguous()
        total: float = compiled.sum_rows[x.dtype](x.data_ptr(), x.shape[0], start)
        return total
    return float(torch.cat([x.new_full((1,), start, dtype=torch.float64), _groups(x)]).cumsum(0)[-1])


def row_order_sums(
    x: Tensor,  # (G, R)
) -> Tensor:  # (G) float64
    """`row_order_sum` of each (R), with the same bits."""
    compiled = library()
    if compiled is not None and x.is_cpu:
        x = x.contiguous()
        sums = torch.zeros(x.shape[0], dtype=torch.float64, device="cpu")
        compiled.add_rows[x.dtype](sums.data_ptr(), x.data_ptr(), *x.shape)
        return sums
    return _groups(x).cumsum(-1)[..., -1]


def _groups(
    x: Tensor,  # (..., R)
) -> Tensor:  # (..., groups) float64
    """The sums of groups, by PyTorch, which adds up a group on one thread."""
    grouped = x.shape[-1] - x.shape[-1] % GROUP_ROWS
    parts = torch.split(x[..., :grouped], PART_ROWS, dim=-1) if grouped else ()
    groups = [part.reshape(*x.shape[:-1], -1, GROUP_ROWS).sum(-1, dtype=torch.float64) for part in parts]
    return torch.cat([*groups, x[..., grouped:].sum(-1, dtype=torch.float64)[..., None]], -1)


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
        self._groups = row_order_sum(x[:grouped], self._groups)
        self._rest, self._rest_rows = [x[grouped:].clone()], len(x) - grouped

    def add_weights(self, weights: Tensor | None, rows: int, ignored: int) -> None:
        """Adds the weights of rows. None stands for 1 for each row, and for 0 for each ignored row."""
        if weights is None and ignored < rows:
            self._count += rows - ignored
        else:
            self.add(torch.zeros(rows, dtype=torch.float64, device="cpu") if weights is None else weights)

    def total(self) -> float:
        return row_order_sum(torch.cat(self._rest), self._groups) + self._count if self._rest else float(self._count)
