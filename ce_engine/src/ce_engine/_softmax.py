"""Softmax cross-entropy of rows against index targets: the loss and the scaled gradient in one pass.

With logits x, p = softmax(x), target class y, class weights w, C classes and label smoothing e, a row's target
distribution is t_c = w_c * ((1 - e) * [c = y] + e / C), its loss is -sum_c t_c * log p_c, and its gradient with respect
to x_j is p_j * sum_c t_c - t_j (https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html). What
comes after the row, a reduction or an incoming gradient, is one factor for the row's gradient: its scale.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ce_engine._rows import as_rows, blocks


@dataclass(frozen=True, eq=False)
class TargetRows:
    """What is asked of each of R rows. Floating tensors are of the dtype that is computed in.

    Attributes:
        classes: (R) int64, the target class y; any valid one for ignored rows.
        ignored: (R) bool; None if no row is.
        hard: (R), w_y * (1 - e).
        smooth: (C), w_c * e / C; None without label smoothing.
        total: (R), sum_c t_c.
        scale: (R), the factor for each row's gradient; None if no gradient is wanted.
    """

    classes: Tensor
    ignored: Tensor | None
    hard: Tensor
    smooth: Tensor | None
    total: Tensor
    scale: Tensor | None

    def __getitem__(self, rows: slice) -> "TargetRows":
        return replace(
            self,
            classes=self.classes[rows],
            ignored=self.ignored[rows] if self.ignored is not None else None,
            hard=self.hard[rows],
            total=self.total[rows],
            scale=self.scale[rows] if self.scale is not None else None,
        )


def evaluate(
    input: Tensor,  # (C), (N, C) or (N, C, d1, ..., dk)
    target: TargetRows,
) -> tuple[Tensor, Tensor | None]:  # (R) losses; the gradient, of the input's shape and dtype
    """Evaluates all rows, block by block; beside the results it holds one block of scratch memory."""
    losses = torch.zeros_like(target.hard)
    rows = as_rows(input)
    grad = torch.empty(input.shape, dtype=input.dtype, device=input.device) if target.scale is not None else None
    grad_rows = as_rows(grad) if grad is not None else None
    scratch = _Scratch(losses)
    for block in blocks(rows, losses.element_size()):
        x = rows[block.samples, block.positions]
        out = grad_rows[block.samples, block.positions] if grad_rows is not None else None
        buffer = scratch.beside(x, out)
        losses[block.rows] = _evaluate_block(x, target[block.rows], buffer)
        if out is not None and out is not buffer:
            out.copy_(buffer)
    return losses, grad


class _Scratch:
    """Memory for one block, in the dtype that is computed in, used again for each."""

    def __init__(self, like: Tensor) -> None:
        self._memory = like.new_empty(0)

    def beside(self, x: Tensor, out: Tensor | None) -> Tensor:
        """Contiguous memory of x's shape: that of the gradient itself, where it will do, or else scratch."""
        if out is not None and out.dtype == self._memory.dtype and out.is_contiguous():
            return out
        if self._memory.numel() < x.numel():  # only for the first block, which is the largest
            self._memory = self._memory.new_empty(x.numel())
        return self._memory[: x.numel()].view(x.shape)


def _evaluate_block(
    x: Tensor,  # (samples, positions, C)
    target: TargetRows,
    buffer: Tensor,  # like x, contiguous, of the dtype that is computed in; the gradient is left in it if wanted
) -> Tensor:  # (rows)
    torch.log_softmax(x, -1, dtype=buffer.dtype, out=buffer)
    log_p = buffer.view(-1, buffer.shape[-1])
    losses = _losses(log_p, target)
    if target.scale is not None:
        _log_softmax_to_grad_(log_p, target, target.scale)
    return losses


def _losses(
    log_p: Tensor,  # (rows, C)
    target: TargetRows,
) -> Tensor:  # (rows)
    losses = -log_p.gather(1, target.classes[:, None])[:, 0] * target.hard
    if target.smooth is not None:
        losses -= _row_sums(log_p * target.smooth)
    if target.ignored is not None:
        losses.masked_fill_(target.ignored, 0)
    return losses


def _row_sums(x: Tensor) -> Tensor:
    # torch splits the sum of a single row over threads, which rounds differently; with a second row it does not.
    return x.sum(1) if len(x) > 1 else x.expand(2, -1).sum(1)[:1]


def _log_softmax_to_grad_(
    log_p: Tensor,  # (rows, C), overwritten
    target: TargetRows,
    scale: Tensor,  # (rows)
) -> None:
    grad = log_p.exp_().mul_((scale * target.total)[:, None])
    if target.smooth is not None:
        grad.addcmul_(scale[:, None], target.smooth, value=-1)
    grad.scatter_add_(1, target.classes[:, None], -(scale * target.hard)[:, None])
    if target.ignored is not None:
        grad.masked_fill_(target.ignored[:, None], 0)
