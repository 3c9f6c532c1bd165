"""Divergences of hidden states, tile by tile: logits of either model or of both, and the way back through its head."""

from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._heads.head import Head
from ce_engine._heads.logits import Logits
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._libraries import library
from ce_engine._rows import blocks_of
from ce_engine.cpu._divergences.operators import DivergenceKernel
from ce_engine.cpu._launch import run_alone
from ce_engine.cpu._native import evaluate_natively
from ce_engine.cpu._places import hide_ignored


def evaluate_divergence_tiles(
    kind: Kind,
    input: Tensor,  # (C) or (..., C), or hidden states (..., H) with a head
    target: Tensor,  # likewise, with its own head
    rows: Rows,
    results: RowResults,
) -> None:
    """Never holds more than a tile of logits of each model, and one of gradients where a softcap is differentiated."""
    x, y = kind.as_rows(input), kind.as_rows(target)
    out = results.map(lambda numbers: numbers, kind.as_rows)
    for block in blocks_of(kind.tile_rows, x):
        at = block.samples, block.positions
        _Tile(kind, x[at], y[at]).evaluate(rows.part(block.rows), out.part(block))


class _Model(NamedTuple):
    """The logits of one model.

    Attributes:
        values: (1, r, V).
        of_states: Where they come from; None if they were given.
    """

    values: Tensor
    of_states: Logits | None

    @classmethod
    def of(cls, x: Tensor, head: Head | None) -> "_Model":  # (1, r, H), or (1, r, V) without a head
        if head is None:
            return cls(x, None)
        logits = Logits(x[0], head)
        return cls(logits.values[None], logits)


class _Tile:
    def __init__(self, kind: Kind, x: Tensor, y: Tensor) -> None:
        form = present(kind.divergence)
        self._head, self._student, self._teacher = kind.head, _Model.of(x, kind.head), _Model.of(y, form.target_head)
        self._kind = kind.of_logits()

    def evaluate(self, rows: Rows, out: RowResults) -> None:
        head, states = self._head, self._student.of_states
        if head is None or states is None or out.grad is None:
            self._of_logits(rows, out)
            return
        rows = rows._replace(scale=(present(rows.scale).double() / head.temperature).to(self._kind.compute_dtype))
        logits = self._student.values  # their gradient takes their place
        grad = logits if head.softcap is None else torch.empty_like(logits)
        self._of_logits(rows, out._replace(grad=grad))
        if head.softcap is not None:
            logits.mul_(head.temperature / head.softcap).square_().neg_().add_(1).mul_(grad)
        states.write_hidden_grad(out.grad[0])
        if rows.ignored is not None:  # their hidden states may be NaN, and 0 times it is not 0
            out.grad[0].masked_fill_(rows.ignored[:, None], 0)

    def _of_logits(self, rows: Rows, out: RowResults) -> None:
        compiled, x, y = library(), self._student.values, self._teacher.values
        if compiled is not None:
            evaluate_natively(compiled, self._kind, x, y, rows, out, run_alone)
            return
        DivergenceKernel(self._kind, x, y, rows)(out)
        hide_ignored(out, rows.ignored)
