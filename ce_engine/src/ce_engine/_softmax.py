"""Softmax cross-entropy of a block of rows: the loss, the scaled gradient and other outputs in one pass."""

from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._dense import deliver, log_sum_exp, widened, working_memory
from ce_engine._slab import Kind, RowResults, Rows
from ce_engine._targets import ClassTarget, ProbabilityTarget, SmoothedTarget, Target


class _Dense(NamedTuple):
    """Tensors of a block, (rows, C), contiguous and of the dtype that is computed in.

    Each that is not wanted shares the memory of the one after it, since it is needed only until that is computed.
    """

    x: Tensor
    log_p: Tensor
    p: Tensor
    grad: Tensor


class SoftmaxBlocks:
    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._wants_p = kind.grad_dtype is not None or "probabilities" in kind.outputs
        # Exponentials are most of the work. softmax computes them once for both the loss and the gradient, but it has
        # lost the logarithms of small probabilities where more than that of one class is needed.
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
        self._evaluate(_Dense(*(y.view(-1, x.shape[-1]) for y in tensors)), self._target(target, rows), out)
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
    """With m the largest logit, log p_y is x_y - m + log p_m: p_m is at least 1 / C, so its logarithm is exact."""
    largest, at_class = block.x.amax(1), target.at_class(block.x)
    torch.softmax(block.x, 1, out=block.p)
    log_p_largest = block.p.amax(1).log_()
    if out.lse is not None:
        out.lse.copy_(log_sum_exp(largest, log_p_largest))
    out.losses.copy_(target.losses_of(largest.sub_(at_class).sub_(log_p_largest)))


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
