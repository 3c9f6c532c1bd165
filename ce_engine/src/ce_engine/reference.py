"""A slow and obvious twin of each loss: one row at a time, in float64, straight from the definition. For tests."""

import torch
from torch import Tensor

from ce_engine._result import LossResult


def cross_entropy(
    input: Tensor,  # (C), (N, C) or (N, C, d1, ..., dk)
    target: Tensor,  # (), (N) or (N, d1, ..., dk)
    weight: Tensor | None = None,  # (C)
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> LossResult:
    """The same as ``ce_engine.cross_entropy`` with ``grad=True``, all in float64."""
    x = input.detach().to(torch.float64)
    rows = x.movedim(1, -1).reshape(-1, x.shape[1]) if x.dim() > 1 else x[None]
    class_count = rows.shape[1]
    weights = torch.ones(class_count, dtype=torch.float64) if weight is None else weight.to(torch.float64)

    losses = torch.zeros(len(rows), dtype=torch.float64)
    grads = torch.zeros_like(rows)
    weight_sum, row_count = 0.0, 0
    for i, y in enumerate(target.reshape(-1).tolist()):
        if y == ignore_index:
            continue
        one_hot = torch.zeros(class_count, dtype=torch.float64)
        one_hot[y] = 1
        wanted = weights * ((1 - label_smoothing) * one_hot + label_smoothing / class_count)
        log_p = rows[i] - torch.logsumexp(rows[i], 0)
        losses[i] = -(wanted * log_p)[wanted != 0].sum()
        grads[i] = log_p.exp() * wanted.sum() - wanted
        weight_sum += float(weights[y])
        row_count += 1

    loss_sum = losses.sum()
    if reduction == "none":
        loss = losses.reshape(target.shape)
    elif reduction == "sum":
        loss = loss_sum
    else:
        loss, grads = loss_sum / weight_sum, grads / weight_sum
    grad = grads.reshape(x.movedim(1, -1).shape).movedim(-1, 1) if x.dim() > 1 else grads[0]
    return LossResult(loss, float(loss_sum), weight_sum, row_count, len(rows) - row_count, grad)
