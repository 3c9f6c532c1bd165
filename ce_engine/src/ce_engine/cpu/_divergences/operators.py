"""Divergences without compiled code, block by block."""

import torch
from torch import Tensor

from ce_engine._divergences.named import most_probable_named
from ce_engine._divergences.operators import deliver, evaluated
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._rows import Block, blocks
from ce_engine.cpu._dense import expectation, log_sum_exp, self_information
from ce_engine.cpu._places import write_log_probabilities, write_places

OF_SOFTMAX = (
    "lse",
    "entropy",
    "probabilities",
    "log_probabilities",
    "target_log_probabilities",
    "target_ranks",
    "top_classes",
)


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
        _write_softmax(x / self._form.temperature, rows.classes, out)
        if out.predictions is not None and out.correct is not None:
            torch.argmax(x, 1, out=out.predictions)
            torch.eq(out.predictions, _most_probable(y, rows), out=out.correct)
        count, grad = self._kind.class_count, out.grad is not None
        deliver(evaluated(self._form, x, y, rows, class_count=count, grad=grad), rows, out)


def wants_softmax(out: RowResults) -> bool:
    """Whether results are wanted that cross-entropy has too."""
    return any(getattr(out, name) is not None for name in OF_SOFTMAX)


def _most_probable(y: Tensor, rows: Rows) -> Tensor:
    return y.argmax(1) if rows.named_classes is None else most_probable_named(y, rows.named_classes)


def _write_softmax(x: Tensor, labels: Tensor | None, out: RowResults) -> None:
    if not wants_softmax(out):
        return
    log_p = torch.log_softmax(x, 1)
    write_places(x, labels, out)
    write_log_probabilities(log_p, labels, out)
    if out.lse is not None:
        out.lse.copy_(log_sum_exp(x.amax(1), log_p.amax(1)))
    if out.log_probabilities is not None:
        out.log_probabilities.copy_(log_p)
    if out.entropy is not None:
        out.entropy.copy_(expectation(self_information(log_p), log_p.exp()))
    if out.probabilities is not None:
        out.probabilities.copy_(log_p.exp_())
