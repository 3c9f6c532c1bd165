"""Negative log-likelihood of a block of rows, which takes one number of each: the loss is -w_y x_y."""

import torch
from torch import Tensor

from ce_engine._dense import log_sum_exp, widened
from ce_engine._memory import scratch
from ce_engine._slab import Kind, RowResults, Rows, present


class NllBlocks:
    def __init__(self, kind: Kind) -> None:
        self._dtype = kind.compute_dtype

    def __call__(
        self,
        x: Tensor,  # (samples, positions, C), of log-probabilities
        target: Tensor | None,  # noqa: ARG002 - other losses have one
        rows: Rows,
        out: RowResults,
    ) -> None:
        index = present(rows.classes).view(*x.shape[:2], 1)
        at_class = x.gather(2, index).to(self._dtype).view(-1)
        out.losses.copy_(_weighted(at_class.neg_(), rows))
        if out.grad is not None:
            slope = _weighted(present(rows.scale).neg(), rows)
            out.grad.zero_().scatter_(2, index, slope.to(out.grad.dtype).view_as(index))
        if out.probabilities is not None:
            out.probabilities.copy_(x).exp_()
        if out.log_probabilities is not None:
            out.log_probabilities.copy_(x)
        if out.predictions is not None and out.correct is not None:
            torch.argmax(x, 2, out=out.predictions.view(index.shape[:2]))
            torch.eq(out.predictions, present(rows.classes), out=out.correct)
        if out.lse is not None:
            out.lse.copy_(self._lse(x))

    def _lse(self, x: Tensor) -> Tensor:
        memory = scratch.like(x, self._dtype, "log_p")
        x = widened(x, memory)
        largest = x.amax(2).view(-1)
        return log_sum_exp(largest, torch.log_softmax(x, 2, out=memory).amax(2).view(-1))


def _weighted(numbers: Tensor, rows: Rows) -> Tensor:  # (R), overwritten
    if rows.weight is not None:
        numbers.mul_(rows.weight)
    return numbers if rows.ignored is None else numbers.masked_fill_(rows.ignored, 0)
