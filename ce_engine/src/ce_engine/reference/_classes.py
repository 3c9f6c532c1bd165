"""The losses of classes."""

from torch import Tensor

from ce_engine._result import LossResult
from ce_engine._rows import target_shape
from ce_engine.reference._tensors import class_rows, numbers, one_hot
from ce_engine.reference._twin import Twin


def cross_entropy(
    input: Tensor,  # (C), (N, C) or (N, C, d1, ..., dk)
    target: Tensor,  # (), (N) or (N, d1, ..., dk); or as input
    weight: Tensor | None = None,  # (C)
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    sample_weight: Tensor | None = None,  # as the loss with reduction none
    divisor: float | None = None,
    top_k: int = 0,
    grad_output: Tensor | None = None,  # as the loss
) -> LossResult:
    rows = class_rows(input)
    weights = numbers(weight, rows.shape[1])
    twin = Twin(rows, has_z_loss=z_loss != 0)
    if not target.is_floating_point():
        twin.add_places(rows.log_softmax(1), target.reshape(-1), ignore_index)
    twin.add_top(rows.log_softmax(1), top_k)
    by_probability = target.is_floating_point()
    for i, y in enumerate(class_rows(target) if by_probability else target.reshape(-1)):
        if not by_probability and y == ignore_index:
            continue
        share = y if by_probability else one_hot(y, rows)
        wanted = weights * ((1 - label_smoothing) * share + label_smoothing / rows.shape[1])
        log_p = rows[i] - rows[i].logsumexp(0)
        counted = rows.new_ones(()) if by_probability else weights[y]
        lse = rows[i].logsumexp(0)
        z_losses = z_loss * counted * lse**2 if z_loss else rows.new_zeros(())
        slope = 2 * z_loss * counted * lse * log_p.exp() if z_loss else 0
        grad = log_p.exp() * wanted.sum() - wanted + slope
        twin.add(i, -(wanted * log_p)[wanted != 0].sum() + z_losses, grad, counted, z_losses)
    return twin.result(input, target_shape(input), reduction, sample_weight, divisor, grad_output)


def nll_loss(
    input: Tensor,  # (C), (N, C) or (N, C, d1, ..., dk)
    target: Tensor,  # (), (N) or (N, d1, ..., dk)
    weight: Tensor | None = None,  # (C)
    ignore_index: int = -100,
    reduction: str = "mean",
    sample_weight: Tensor | None = None,  # as target
    divisor: float | None = None,
    top_k: int = 0,
    grad_output: Tensor | None = None,  # as the loss
) -> LossResult:
    rows = class_rows(input)
    weights = numbers(weight, rows.shape[1])
    twin = Twin(rows)
    twin.add_places(rows, target.reshape(-1), ignore_index)
    twin.add_top(rows, top_k)
    for i, y in enumerate(target.reshape(-1)):
        if y != ignore_index:
            twin.add(i, -weights[y] * rows[i, y], -weights[y] * one_hot(y, rows), weights[y])
    return twin.result(input, target_shape(input), reduction, sample_weight, divisor, grad_output)
