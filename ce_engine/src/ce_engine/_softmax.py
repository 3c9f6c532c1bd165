"""Softmax cross-entropy, block by block: the loss, the scaled gradient and other outputs in one pass."""

from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._dense import deliver, log_sum_exp, widened, working_memory
from ce_engine._memory import scratch
from ce_engine._rows import Block, block_rows
from ce_engine._slab import Kind, RowResults, Rows
from ce_engine._targets import ClassTarget, target_of

# Below, a probability has lost digits, or is 0. Its row is computed from its logits again.
LEAST_P = {torch.float32: 2.0**-100, torch.float64: 2.0**-1000}


class _Dense(NamedTuple):
    """Tensors of a block, (rows, C), contiguous and of the dtype that is computed in.

    Each that is not wanted shares the memory of the one after it, since it is needed only until that is computed.
    """

    x: Tensor
    log_p: Tensor
    p: Tensor
    grad: Tensor


class SoftmaxKernel:
    def __init__(self, kind: Kind, x: Tensor, target: Tensor | None, rows: Rows) -> None:
        self._x = x  # (samples, positions, C)
        self._dtype = kind.compute_dtype
        self._target = target_of(kind, rows, target)
        self._wants_p = kind.grad_dtype is not None or "probabilities" in kind.outputs
        # Exponentials are most of the work. softmax computes them once for both the loss and the gradient, and the
        # logarithm of a probability is as exact as log_softmax, but where it is too small to be told from 0. So this is
        # for losses that need it at one class, and not at all of them.
        one_class = target is None and not kind.label_smoothing
        self._by_softmax = one_class and self._wants_p and "log_probabilities" not in kind.outputs
        self._losses_only = not self._wants_p and not kind.outputs

    def __call__(self, block: Block, out: RowResults) -> None:
        x = self._x[block.samples, block.positions]
        if self._losses_only:  # the common case, kept short: what Python does between blocks is a tenth of the time
            memory = scratch.like(x, self._dtype, "grad")
            torch.log_softmax(widened(x, memory), 2, out=memory)
            self._target.log_likelihoods(memory.view(-1, x.shape[2]), block, out.losses[block.rows])
        else:
            self._evaluate(x, block, out[block])

    def _evaluate(self, x: Tensor, block: Block, out: RowResults) -> None:
        tensors = self._memory(x, out)
        dense = _Dense(*(tensor.view(-1, self._x.shape[2]) for tensor in tensors))
        if out.predictions is not None and out.correct is not None:
            torch.argmax(dense.x, 1, out=out.predictions)
            torch.eq(out.predictions, self._target.largest(block), out=out.correct)
        if self._by_softmax and isinstance(self._target, ClassTarget):
            _softmax(dense, out)
            self._target.at_class(dense.p, block, out.losses)
        else:
            _log_softmax(dense, out)
            self._target.log_likelihoods(dense.log_p, block, out.losses)
            if self._wants_p:
                torch.exp(dense.log_p, out=dense.p)
        if out.grad is not None:
            self._target.grad(dense.p, block, dense.grad)
        deliver(tensors[1:], (out.log_probabilities, out.probabilities, out.grad))

    def _memory(self, x: Tensor, out: RowResults) -> tuple[Tensor, ...]:
        grad = working_memory(out.grad, x, self._dtype, "grad")
        p = grad if out.probabilities is None else working_memory(out.probabilities, x, self._dtype, "p")
        log_p = p if out.log_probabilities is None else working_memory(out.log_probabilities, x, self._dtype, "log_p")
        return widened(x, log_p), log_p, p, grad

    def finish(self, out: RowResults) -> None:
        if self._by_softmax and isinstance(self._target, ClassTarget):
            lost = (out.losses < LEAST_P[self._dtype]).nonzero()[:, 0]
            out.losses.log_()
            for rows in torch.split(lost, block_rows(self._x.shape[2], self._dtype.itemsize)):
                out.losses[rows] = self._log_p(rows, self._target)
        self._target.finish(out.losses, out.grad)

    def _log_p(self, rows: Tensor, target: ClassTarget) -> Tensor:
        positions = self._x.shape[1]
        x = self._x[rows // positions, rows % positions].to(self._dtype)
        return torch.log_softmax(x, 1).gather(1, target.index[rows])[:, 0]


def _softmax(dense: _Dense, out: RowResults) -> None:
    largest = dense.x.amax(1) if out.lse is not None else None
    torch.softmax(dense.x, 1, out=dense.p)
    if out.lse is not None and largest is not None:
        out.lse.copy_(log_sum_exp(largest, dense.p.amax(1).log_()))


def _log_softmax(dense: _Dense, out: RowResults) -> None:
    largest = dense.x.amax(1) if out.lse is not None else None
    torch.log_softmax(dense.x, 1, out=dense.log_p)
    if out.lse is not None and largest is not None:
        out.lse.copy_(log_sum_exp(largest, dense.log_p.amax(1)))
