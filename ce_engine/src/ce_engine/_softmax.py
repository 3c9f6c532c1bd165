"""Softmax cross-entropy of a block of rows: the loss, the scaled gradient and other outputs in one pass."""

from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._dense import deliver, log_sum_exp, widened, working_memory
from ce_engine._slab import Kind, RowResults, Rows
from ce_engine._targets import ClassTarget, ProbabilityTarget, SmoothedTarget, Target

# Below, a probability has lost digits, or is 0. Its row is computed from its logits again.
LEAST_P = {torch.float32: 2.0**-100, torch.float64: 2.0**-1000}


class _Dense(NamedTuple):
    """The input of a block, and tensors (rows, C), contiguous and of the dtype that is computed in.

    Each of these that is not wanted shares the memory of the one after it, since it is needed only until that is
    computed.
    """

    input: Tensor  # (samples, positions, C)
    x: Tensor
    log_p: Tensor
    p: Tensor
    grad: Tensor


class SoftmaxBlocks:
    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._wants_p = kind.grad_dtype is not None or "probabilities" in kind.outputs
        # Exponentials are most of the work. softmax computes them once for both the loss and the gradient, and the
        # logarithm of a probability is as exact as log_softmax, but where it is too small to be told from 0. So this is
        # for losses that need it at one class, and not at all of them.
        one_class = kind.target_dtype is None and not kind.label_smoothing
        self._by_softmax = one_class and self._wants_p and "log_probabilities" not in kind.outputs
        self._class_weight = None if kind.class_weight is None else kind.class_weight.tensor
        self._smooth, self._smooth_sum = smooth_target(kind)

    def __call__(
        self,
        x: Tensor,  # (samples, positions, C)
        target: Tensor | None,  # as x
        rows: Rows,
        out: RowResults,
    ) -> None:
        dtype = self._kind.compute_dtype
        grad = working_memory(out.grad, x, dtype, "grad")
        p = grad if out.probabilities is None else working_memory(out.probabilities, x, dtype, "p")
        log_p = p if out.log_probabilities is None else working_memory(out.log_probabilities, x, dtype, "log_p")
        tensors = (widened(x, log_p), log_p, p, grad)
        block = _Dense(x, *(tensor.view(-1, x.shape[-1]) for tensor in tensors))
        self._evaluate(block, self._target(target, rows), out)
        deliver(log_p, out.log_probabilities)
        deliver(p, out.probabilities)
        deliver(grad, out.grad)

    def _target(self, target: Tensor | None, rows: Rows) -> Target:
        smoothing = self._kind.label_smoothing
        if target is not None:
            return ProbabilityTarget(
                rows, target, smoothing, self._class_weight, self._smooth, self._kind.compute_dtype
            )
        if self._smooth is not None:
            return SmoothedTarget(rows, smoothing, self._smooth, self._smooth_sum)
        return ClassTarget(rows)

    def _evaluate(self, block: _Dense, target: Target, out: RowResults) -> None:
        if out.predictions is not None and out.correct is not None:
            torch.argmax(block.x, 1, out=out.predictions)
            torch.eq(out.predictions, target.largest(), out=out.correct)
        if self._by_softmax and isinstance(target, ClassTarget):
            _softmax(block, target, out)
        else:
            _log_softmax(block, target, out)
            if self._wants_p:
                torch.exp(block.log_p, out=block.p)
        if out.grad is not None:
            target.grad(block.p, block.grad)


def _softmax(block: _Dense, target: ClassTarget, out: RowResults) -> None:
    largest = block.x.amax(1) if out.lse is not None else None
    torch.softmax(block.x, 1, out=block.p)
    if out.lse is not None and largest is not None:
        out.lse.copy_(log_sum_exp(largest, block.p.amax(1).log_()))
    p_at_class = target.at_class(block.p)
    surprise = p_at_class.log().neg_()
    lost = p_at_class < LEAST_P[p_at_class.dtype]
    if lost.any():
        rows = lost.nonzero()[:, 0]
        surprise[rows] = _surprise_of(rows, block, target)
    out.losses.copy_(target.losses_of(surprise))


def _surprise_of(rows: Tensor, block: _Dense, target: ClassTarget) -> Tensor:
    """-log p of the classes of some rows, also where p is too small to be told from 0."""
    positions = block.input.shape[1]
    x = block.input[rows // positions, rows % positions].to(block.p.dtype)
    return -torch.log_softmax(x, 1).gather(1, target.index[rows])[:, 0]


def _log_softmax(block: _Dense, target: Target, out: RowResults) -> None:
    largest = block.x.amax(1) if out.lse is not None else None
    torch.log_softmax(block.x, 1, out=block.log_p)
    if out.lse is not None and largest is not None:
        out.lse.copy_(log_sum_exp(largest, block.log_p.amax(1)))
    out.losses.copy_(target.losses(block.log_p))


def smooth_target(kind: Kind) -> tuple[Tensor | None, float]:  # (C), w_c e / C; its sum
    if not kind.label_smoothing:
        return None, 0.0
    weights = torch.ones((), dtype=torch.float64) if kind.class_weight is None else kind.class_weight.tensor
    smooth = (weights.to(torch.float64) * kind.label_smoothing / kind.class_count).expand(kind.class_count)
    return smooth.to(kind.compute_dtype), float(smooth.sum())
