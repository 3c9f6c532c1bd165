"""Negative log-likelihood, block by block. It takes one number of each row: the loss is -w_y x_y."""

import torch
from torch import Tensor

from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._memory import scratch
from ce_engine._rows import Block, blocks
from ce_engine.cpu._dense import expectation, log_sum_exp, self_information, widened
from ce_engine.cpu._places import write_log_probabilities, write_places


class NllKernel:
    def __init__(self, kind: Kind, x: Tensor, target: Tensor | None, rows: Rows) -> None:  # noqa: ARG002 - no target
        self._x = x  # (samples, positions, C), of log-probabilities
        self._dtype = kind.compute_dtype
        self._rows = rows
        self._index = present(rows.classes).view(*x.shape[:2], 1)
        self._slope = None if rows.scale is None else _weighted(rows.scale.neg(), rows).view_as(self._index)

    def __call__(self, out: RowResults) -> None:
        for block in blocks(self._x, self._dtype.itemsize):
            self._evaluate(block, out)
        _weighted(out.losses.neg_(), self._rows)

    def _evaluate(self, block: Block, out: RowResults) -> None:
        out, at = out.part(block), (block.samples, block.positions)
        x, index = self._x[at], self._index[at]
        out.losses.copy_(x.gather(2, index).view(-1))
        if out.grad is not None:
            out.grad.zero_().scatter_(2, index, present(self._slope)[at].to(out.grad.dtype))
        if out.probabilities is not None:
            out.probabilities.copy_(x).exp_()
        if out.log_probabilities is not None:
            out.log_probabilities.copy_(x)
        if out.predictions is not None and out.correct is not None:
            torch.argmax(x, 2, out=out.predictions.view(index.shape[:2]))
            torch.eq(out.predictions, index.view(-1), out=out.correct)
        self._describe(x, index.reshape(-1), out)
        if out.lse is not None or out.entropy is not None:
            self._normalize(x, out)

    def _describe(self, x: Tensor, index: Tensor, out: RowResults) -> None:
        """Of the input as it is."""
        log_p = x.reshape(-1, x.shape[2])
        write_places(log_p, index, out)
        write_log_probabilities(log_p, index, out)

    def _normalize(self, x: Tensor, out: RowResults) -> None:
        """Log-sum-exp and entropy of the softmax of x. If x is log-probabilities, that is their own distribution."""
        memory = scratch.like(x, self._dtype, "log_p")
        x = widened(x, memory)
        largest = x.amax(2).view(-1)
        log_p = torch.log_softmax(x, 2, out=memory).view(-1, x.shape[2])
        if out.lse is not None:
            out.lse.copy_(log_sum_exp(largest, log_p.amax(1)))
        if out.entropy is not None:
            out.entropy.copy_(expectation(self_information(log_p), log_p.exp_()))


def _weighted(numbers: Tensor, rows: Rows) -> Tensor:  # (R), overwritten
    if rows.weight is not None:
        numbers.mul_(rows.weight)
    return numbers if rows.ignored is None else numbers.masked_fill_(rows.ignored, 0)
