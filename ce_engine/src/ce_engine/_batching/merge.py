"""Merges several slabs of the same kind into one, and splits its results again."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from ce_engine._kernel_rows import ELEMENTWISE, RowResults, Rows
from ce_engine._slab import Slab


def merge(slabs: Sequence[Slab]) -> tuple[Tensor, Tensor | None, Rows]:
    """Input, target and rows of all slabs: (R, C), for the binary losses (R)."""
    inputs = [_flat(slab.input, slab) for slab in slabs]
    targets = [_flat(slab.target, slab) for slab in slabs if slab.target is not None]
    columns = [_merged_column(columns, slabs) for columns in zip(*(slab.rows for slab in slabs), strict=True)]
    return torch.cat(inputs), torch.cat(targets) if targets else None, Rows(*columns)


def split(results: RowResults, slabs: Sequence[Slab]) -> Iterator[RowResults]:
    """The results of each slab, in memory of their own: a small result must not keep a large launch alive."""
    ends = list(accumulate(slab.row_count for slab in slabs))
    for slab, start, end in zip(slabs, [0, *ends], ends, strict=False):
        yield _part(results, slab, slice(start, end))


def _part(results: RowResults, slab: Slab, rows: slice) -> RowResults:
    return results.map(lambda numbers: numbers[rows].clone(), lambda elements: _shaped(elements[rows], slab))


def _flat(x: Tensor, slab: Slab) -> Tensor:
    kind = slab.kind
    rows = kind.as_rows(x)
    return x.reshape(-1) if kind.loss in ELEMENTWISE else rows.reshape(slab.row_count, rows.shape[-1])


def _shaped(x: Tensor, slab: Slab) -> Tensor:  # (rows, C) or (rows) -> the input's shape
    has_classes = slab.kind.head is not None and x.shape[-1] != slab.kind.width
    shape = slab.kind.shape_of_classes(slab.input.shape) if has_classes else slab.input.shape
    out = torch.empty(shape, dtype=x.dtype, device=x.device)
    rows = slab.kind.as_rows(out)
    rows.copy_(x.reshape(rows.shape))
    return out


def _merged_column(columns: Sequence[Tensor | None], slabs: Sequence[Slab]) -> Tensor | None:
    given = next((column for column in columns if column is not None), None)
    if given is None:
        return None
    neutral = given.new_zeros(()) if given.dtype is torch.bool else given.new_ones(())  # not ignored; weight 1
    return torch.cat(
        [
            neutral.expand(slab.row_count) if column is None else column
            for slab, column in zip(slabs, columns, strict=True)
        ]
    )
