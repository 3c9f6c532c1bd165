"""Divergences without compiled code, block by block."""

import torch
from torch import Tensor

from ce_engine._divergences.named import most_probable_named
from ce_engine._divergences.operators import Evaluated, of_logits, of_named
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._rows import Block, blocks
from ce_engine.cpu._dense import expectation, log_sum_exp, self_information


class DivergenceKernel:
    def __init__(self, kind: Kind, x: Tensor, target: Tensor | None, rows: Rows) -> None:
        self._x, self._target = x, present(target)  # (1, positions, C) and (1, positions, its own width)
        self._kind, self._form, self._rows = kind, present(kind.divergence), rows

    def __call__(self, out: RowResults) -> None:
        for block in blocks(self._x, self._kind.compute_dtype.itemsize):
            self._evaluate(block, out.part(block).map(lambda numbers: numbers, lambda x: x[0]))

    def _evaluate(self, block: Block, out: RowResults) -> None:
        x, y = (tensor[0, block.positions].to(self._kind.compute_dtype) for tensor in (self._x, self._target))
        rows = self._rows.part(block.rows)
        _write_softmax(x / self._form.temperature, out)
        if out.predictions is not None and out.correct is not None:
            torch.argmax(x, 1, out=out.predictions)
            torch.eq(out.predictions, _most_probable(y, rows), out=out.correct)
        _deliver(self._of_rows(x, y, rows, grad=out.grad is not None), rows, out)

    def _of_rows(self, x: Tensor, y: Tensor, rows: Rows, *, grad: bool) -> Evaluated:
        if rows.named_classes is not None:
            return of_named(self._form, x, y, rows.named_classes, grad=grad)
        return of_logits(self._form, x, y, rows.classes, grad=grad)


def _most_probable(y: Tensor, rows: Rows) -> Tensor:
    return y.argmax(1) if rows.named_classes is None else most_probable_named(y, rows.named_classes)


def _write_softmax(x: Tensor, out: RowResults) -> None:
    if out.lse is None and out.entropy is None and out.probabilities is None and out.log_probabilities is None:
        return
    log_p = torch.log_softmax(x, 1)
    if out.lse is not None:
        out.lse.copy_(log_sum_exp(x.amax(1), log_p.amax(1)))
    if out.log_probabilities is not None:
        out.log_probabilities.copy_(log_p)
    if out.entropy is not None:
        out.entropy.copy_(expectation(self_information(log_p), log_p.exp()))
    if out.probabilities is not None:
        out.probabilities.copy_(log_p.exp_())


def _deliver(evaluated: Evaluated, rows: Rows, out: RowResults) -> None:
    """Weighs losses and gradients, and leaves ignored rows out."""
    weight = 1 if rows.weight is None else rows.weight
    out.losses.copy_(evaluated.losses * weight)
    columns = [out.losses, out.changes]
    if out.changes is not None and evaluated.changes is not None:
        out.changes.copy_(evaluated.changes)
    if out.grad is not None and evaluated.grad is not None:
        out.grad.copy_(evaluated.grad.mul_((present(rows.scale) * weight)[:, None]))
        columns.append(out.grad.transpose(0, 1))
    if rows.ignored is not None:
        for column in columns:
            if column is not None:
                column.masked_fill_(rows.ignored, 0)
