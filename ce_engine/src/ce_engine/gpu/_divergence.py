"""Divergences on a device, by PyTorch's operators on parts of the rows.

All parts have the same shape, and rows that start where a thread's widest load may: PyTorch's sums and softmaxes pick
their ways by both, and a row's bits with them. So rows and classes are padded, with numbers that have no share.
"""

import math
from operator import itemgetter

import torch
from torch import Tensor
from torch.nn import functional as F

from ce_engine._divergences.named import most_probable_named
from ce_engine._divergences.operators import Evaluated, deliver, evaluated
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine.gpu._operands import Operands

PART_NUMBERS = 2**21  # of each tensor, about those of a piece of a pipeline; not measured yet
COLUMNS = 4  # numbers of float32 in a thread's widest load


def write_divergences(kind: Kind, operands: Operands, out: RowResults) -> None:
    """Writes losses, gradients and changes, and which predictions are the target's. The gradient may be the input."""
    step = max(1, PART_NUMBERS // kind.class_count)
    for start in range(0, operands.x.shape[0], step):
        at = slice(start, start + step)
        rows, part = _part(operands.rows, at), out.map(itemgetter(at), itemgetter(at))
        _write(kind, step, operands.x[at], present(operands.target)[at], rows, part)


def _write(
    kind: Kind,
    step: int,  # rows of a part, of which these are some
    x: Tensor,  # (r, C)
    target: Tensor,  # (r, C) or (r, k)
    rows: Rows,
    out: RowResults,
) -> None:
    if out.predictions is not None:
        _write_correct(target.to(kind.compute_dtype), rows, out)
    count, named = len(x), rows.named_classes
    x, y = (_padded(numbers.to(kind.compute_dtype), step, -math.inf) for numbers in (x, target))
    padded = Rows(
        classes=None if rows.classes is None else F.pad(rows.classes, (0, step - count)),
        named_classes=None if named is None else _padded(named, step, 0),
    )
    found = evaluated(present(kind.divergence), x, y, padded, class_count=kind.class_count, grad=out.grad is not None)
    deliver(_first(found, count, kind.class_count), rows, out)


def _write_correct(y: Tensor, rows: Rows, out: RowResults) -> None:
    named, correct = rows.named_classes, present(out.correct)
    likeliest = y.argmax(1) if named is None else most_probable_named(y, named)
    torch.eq(present(out.predictions), likeliest, out=correct)
    if rows.ignored is not None:
        correct.logical_and_(~rows.ignored)


def _padded(x: Tensor, rows: int, value: float) -> Tensor:
    return F.pad(x, (0, -x.shape[1] % COLUMNS, 0, rows - len(x)), value=value)


def _first(found: Evaluated, rows: int, classes: int) -> Evaluated:
    grad, changes = found.grad, found.changes
    return Evaluated(
        found.losses[:rows],
        None if grad is None else grad[:rows, :classes],
        None if changes is None else changes[:rows],
    )


def _part(rows: Rows, at: slice) -> Rows:
    """A scale may be one for all rows."""
    part = rows.part(at)
    return part if rows.scale is None or rows.scale.numel() > 1 else part._replace(scale=rows.scale)
