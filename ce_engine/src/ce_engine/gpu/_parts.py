"""Cuts a launch into pieces, so that one is copied in while another is computed and a third is copied out."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Size, Tensor

from ce_engine._kernel_rows import Kind, RowResults, Rows
from ce_engine._rows import Block, blocks_of
from ce_engine._slab import Slab

META = torch.device("meta")


class Part(NamedTuple):
    """Some consecutive rows of a slab: views of what is read, and of where the results go.

    Attributes:
        x: (samples, positions, C).
        target: As x.
        rows: Targets and factors of the rows.
        results: Tensors of the input's shape are viewed as x.
    """

    x: Tensor
    target: Tensor | None
    rows: Rows
    results: RowResults

    @property
    def row_count(self) -> int:
        return self.x.shape[0] * self.x.shape[1]

    def cut(self, block: Block) -> "Part":
        target = None if self.target is None else self.target[block.samples, block.positions]
        x = self.x[block.samples, block.positions]
        return Part(x, target, self.rows.part(block.rows), self.results.part(block))


def whole(slab: Slab, results: RowResults) -> Part:
    """All rows of a slab."""
    as_rows = slab.kind.as_rows
    target = None if slab.target is None else as_rows(slab.target)
    return Part(as_rows(slab.input), target, slab.rows, results.map(lambda numbers: numbers, as_rows))


def pieces(
    slabs: Sequence[Slab],  # of a kind
    results: Sequence[RowResults],  # of each slab
    nbytes: int,
) -> Iterator[list[Part]]:
    """Pieces of at most so many bytes each way, but of one row at least. Slabs without elements are in none."""
    most = max(1, nbytes // _row_bytes(slabs[0].kind))
    piece: list[Part] = []
    count = 0
    for slab, own in zip(slabs, results, strict=True):
        part = whole(slab, own)
        for block in blocks_of(most, part.x):
            cut = part.cut(block)
            if count + cut.row_count > most:
                yield piece
                piece, count = [], 0
            piece.append(cut)
            count += cut.row_count
    if piece:
        yield piece


def _row_bytes(kind: Kind) -> int:
    """Of a row on its way in or out, whichever is more."""
    factors = sum(name not in ("ignored", "named_classes") for name in Rows._fields) * torch.float64.itemsize
    of_target = 0 if kind.target_dtype is None else kind.target_width * kind.target_dtype.itemsize
    named = 0 if kind.divergence is None else (kind.divergence.named_count or 0) * torch.int64.itemsize
    results = RowResults.allocate(kind._replace(device=META), Size((1, kind.class_count)), 1)
    read = kind.class_count * kind.dtype.itemsize + of_target + named + factors
    return max(read, sum(x.nbytes for x in results if x is not None))
