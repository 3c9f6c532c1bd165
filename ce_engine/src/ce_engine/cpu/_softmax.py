"""Softmax cross-entropy, block by block: the loss, the scaled gradient and other outputs in one pass."""

from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._rows import Block, blocks
from ce_engine.cpu._dense import deliver, expectation, log_sum_exp, self_information, widened, working_memory
from ce_engine.cpu._places import write_log_probabilities, write_places
from ce_engine.cpu._targets import target_of


class _Dense(NamedTuple):
    """Tensors of a block, (rows, C), contiguous and of the dtype that is computed in.

    An unwanted tensor shares the memory of the next tensor, since it is needed only until the next is computed.
    """

    x: Tensor
    log_p: Tensor
    p: Tensor
    grad: Tensor


class SoftmaxKernel:
    def __init__(self, kind: Kind, x: Tensor, target: Tensor | None, rows: Rows) -> None:
        self._x = x  # (samples, positions, C)
        self._dtype, self._z_loss = kind.compute_dtype, kind.z_loss
        self._target = target_of(kind, rows, target)
        self._classes = rows.classes

    def __call__(self, out: RowResults) -> None:
        for block in blocks(self._x, self._dtype.itemsize):
            self._evaluate(self._x[block.samples, block.positions], block, out.part(block))
        self._target.finish(out.losses, out.grad)

    def _evaluate(self, x: Tensor, block: Block, out: RowResults) -> None:
        tensors = self._memory(x, out)
        dense = _Dense(*(tensor.view(-1, self._x.shape[2]) for tensor in tensors))
        if out.predictions is not None and out.correct is not None:
            torch.argmax(dense.x, 1, out=out.predictions)
            torch.eq(out.predictions, self._target.largest(block), out=out.correct)
        classes = None if self._classes is None else self._classes[block.rows]
        write_places(dense.x, classes, out)
        lse = _log_softmax(dense, wants_lse=out.lse is not None or self._z_loss != 0)
        if out.lse is not None:
            out.lse.copy_(present(lse))
        write_log_probabilities(dense.log_p, classes, out)
        self._target.log_likelihoods(dense.log_p, block, out.losses)
        if out.z_losses is not None:
            self._target.add_z_losses(present(lse).square().mul_(self._z_loss), block, out)
        information = None if out.entropy is None else self_information(dense.log_p)
        if out.grad is not None or out.probabilities is not None or out.entropy is not None:
            torch.exp(dense.log_p, out=dense.p)
        if out.entropy is not None and information is not None:
            out.entropy.copy_(expectation(information, dense.p))
        if out.grad is not None:
            slope = present(lse).mul_(2 * self._z_loss) if self._z_loss else None
            self._target.grad(dense.p, block, dense.grad, slope)
        deliver(tensors[1:], (out.log_probabilities, out.probabilities, out.grad))

    def _memory(self, x: Tensor, out: RowResults) -> tuple[Tensor, ...]:
        grad = working_memory(out.grad, x, self._dtype, "grad")
        p = grad if out.probabilities is None else working_memory(out.probabilities, x, self._dtype, "p")
        log_p = p if out.log_probabilities is None else working_memory(out.log_probabilities, x, self._dtype, "log_p")
        return widened(x, log_p), log_p, p, grad


def _log_softmax(dense: _Dense, *, wants_lse: bool) -> Tensor | None:  # (rows), the log-sum-exp
    largest = dense.x.amax(1) if wants_lse else None
    torch.log_softmax(dense.x, 1, out=dense.log_p)
    return None if largest is None else log_sum_exp(largest, dense.log_p.amax(1))
