from dataclasses import replace

import torch
from torch import Tensor

from ce_engine._reduction import EMPTY_MEANS, REDUCTIONS, Reduction, row_order_sum
from ce_engine._result import LossResult
from ce_engine._rows import class_count
from ce_engine._softmax import TargetRows, evaluate
from ce_engine._validation import (
    check_choice,
    check_class_weight,
    check_classes,
    check_grad_output,
    check_index_target,
    check_input,
    check_label_smoothing,
    int64_classes,
)


@torch.no_grad()
def cross_entropy(
    input: Tensor,  # (C), (N, C) or (N, C, d1, ..., dk)
    target: Tensor,  # (), (N) or (N, d1, ..., dk)
    weight: Tensor | None = None,  # (C)
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    *,
    grad: bool = False,
    grad_output: Tensor | None = None,  # of the loss's shape
    empty: str = "nan",
) -> LossResult:
    """Softmax cross-entropy of logits against class indices, as ``torch.nn.functional.cross_entropy``.

    Args:
        input: Logits, in float64, float32, float16 or bfloat16. Half precision is computed in float32.
        target: Class indices in any integer dtype, each in [0, C) or equal to ``ignore_index``.
        weight: A factor for each class, in any of the input's dtypes; may be negative or zero.
        ignore_index: Rows with this target have loss 0 and gradient 0 and do not count in ``mean``.
        reduction: ``none``, ``mean`` or ``sum``.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1].
        grad: Whether to compute the gradient with respect to the input.
        grad_output: The incoming gradient; ones if None.
        empty: What ``mean`` is when no row counts: ``nan``, as in PyTorch, or ``zero``.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("empty", empty, EMPTY_MEANS)
    check_label_smoothing(label_smoothing)
    check_input(input)
    check_index_target(target, input)
    check_class_weight(weight, class_count(input))
    check_grad_output(grad_output, target.shape if reduction == "none" else torch.Size(), grad=grad)
    classes = int64_classes(target.reshape(-1))
    check_classes(classes, class_count(input), ignore_index)

    ignored = classes == ignore_index
    ignored_count = int(ignored.count_nonzero())
    classes = classes.masked_fill(ignored, 0)
    row_weights = _row_weights(classes, ignored, weight)
    batch = Reduction(reduction, empty, target.shape, row_order_sum(row_weights), ignored_count)
    rows = _target_rows(classes, ignored if ignored_count else None, row_weights, weight, label_smoothing, input)
    if grad:
        rows = replace(rows, scale=batch.row_scale(grad_output, like=rows.hard))
    losses, gradient = evaluate(input, rows)
    return batch.result(losses, gradient)


def _row_weights(
    classes: Tensor,  # (R), any for ignored rows
    ignored: Tensor,  # (R)
    weight: Tensor | None,  # (C)
) -> Tensor:  # (R) float64: what each row adds to the divisor of `mean`
    if weight is None:
        return (~ignored).to(torch.float64)
    return weight.to(torch.float64)[classes].masked_fill(ignored, 0)


def _target_rows(
    classes: Tensor,  # (R)
    ignored: Tensor | None,  # (R)
    row_weights: Tensor,  # (R)
    weight: Tensor | None,  # (C)
    label_smoothing: float,
    input: Tensor,
) -> TargetRows:
    dtype = torch.promote_types(input.dtype, torch.float32)
    hard = row_weights * (1 - label_smoothing)
    smooth, smooth_sum = None, 0.0
    if label_smoothing and input.numel():  # without elements, C may be any number
        weights = input.new_ones(class_count(input)) if weight is None else weight
        smooth = weights.to(torch.float64) * label_smoothing / len(weights)
        smooth_sum = float(smooth.sum())
    return TargetRows(
        classes=classes,
        ignored=ignored,
        hard=hard.to(dtype),
        smooth=smooth.to(dtype) if smooth is not None else None,
        total=(hard + smooth_sum).to(dtype),
        scale=None,
    )
