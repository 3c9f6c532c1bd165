from typing import Any, Unpack

import torch
from torch import Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._kernel_rows import Rows, Shared
from ce_engine._plans.checks import check_factors_of_rows, check_no_target_outputs, check_weight_of_classes
from ce_engine._plans.index_target import IndexTarget
from ce_engine._plans.options import Common, Options
from ce_engine._plans.planning import computed, plan, product, sample_weight
from ce_engine._plans.remembered import remembers_forms
from ce_engine._plans.validation import (
    check_class_input,
    check_index_target,
    check_label_smoothing,
    check_number,
    check_probability_target,
    check_type,
)
from ce_engine._rows import class_count, target_shape
from ce_engine._slab import Slab


@remembers_forms()
def cross_entropy(
    input: Tensor,  # (C), (N, C) or (N, C, d1, ..., dk)
    target: Tensor,  # (), (N) or (N, d1, ..., dk); or as input
    weight: Tensor | str | None = None,  # (C)
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    **common: Unpack[Common],
) -> Slab:
    """Softmax cross-entropy of logits, as ``torch.nn.functional.cross_entropy``.

    Args:
        input: Logits, in float64, float32, float16 or bfloat16. Half precision is computed in float32.
        target: Class indices in any integer dtype, each in [0, C) or equal to ``ignore_index``; or, of the input's
            shape and in any of its dtypes, probabilities of the classes, which need not sum to 1.
        weight: A factor for each class, in any of the input's dtypes; may be negative or zero. Or, for index targets,
            how to compute it from them: ``balanced``, N / (C n_c) for a class that occurs n_c times in N rows, or
            ``complement``, 1 - n_c / N.
        ignore_index: Rows with this target have loss 0 and gradient 0 and do not count in ``mean``. It must be
            negative for probability targets, which ignore no row.
        reduction: ``none``, ``mean`` or ``sum``. ``mean`` divides by the sum of the weights of the targets' classes;
            for probability targets by the number of rows.
        label_smoothing: Share of the target that is spread evenly over all classes, in [0, 1].
        z_loss: Factor of the square of a row's log-sum-exp, which is added to its loss times the weight of the
            target's class, or 1 for probability targets; from 0 to 1e15.
        **common: See `Common`.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
    """
    options = Options(reduction, **common)
    if not options.checked:
        _check(input, target, weight, ignore_index, label_smoothing)
        check_number("z_loss", z_loss, least=0)
        _check_outputs(target, options)
        check_factors_of_rows(options, target_shape(input))
    of_kind: dict[str, Any] = {"label_smoothing": float(label_smoothing), "z_loss": float(z_loss)}
    if isinstance(weight, str) or not target.dtype.is_floating_point:
        return _index_slab(input, target, weight, ignore_index, of_kind, options)
    if not class_count(input):  # nothing is probable, so no row counts: PyTorch's losses are 0 and their mean is NaN
        target = torch.full(target_shape(input), ignore_index, device="cpu")
        return _index_slab(input, target, weight, ignore_index, of_kind, options)
    return _probability_slab(input, target, weight, of_kind, options)


def _check(
    input: Tensor, target: Tensor, weight: Tensor | str | None, ignore_index: int, label_smoothing: float
) -> None:
    check_label_smoothing(label_smoothing)
    check_type("ignore_index", ignore_index, int)
    check_class_input(input)
    if isinstance(target, Tensor) and target.dtype.is_floating_point:
        check_probability_target(target, input)
        _check_options_of_probabilities(ignore_index, weight)
    else:
        check_index_target(target, input)
    check_weight_of_classes(weight, input)


def _check_outputs(target: Tensor, options: Options) -> None:
    if target.dtype.is_floating_point:
        check_no_target_outputs(options, "probability targets")


def _check_options_of_probabilities(ignore_index: int, weight: Tensor | str | None) -> None:
    if ignore_index >= 0:
        problem = f"expected a negative one for probability targets, got {ignore_index}"
        raise InvalidArgumentError("ignore_index", problem)
    if isinstance(weight, str):
        raise InvalidArgumentError("weight", f"expected numbers for probability targets, got {weight!r}")


def _index_slab(
    input: Tensor,
    target: Tensor,
    weight: Tensor | str | None,
    ignore_index: int,
    of_kind: dict[str, Any],
    options: Options,
) -> Slab:
    checked = IndexTarget.of(target, class_count(input), ignore_index)
    weights = checked.class_weight(weight)
    row_weight, weight_sum = checked.row_weight(weights)
    factor, samples = row_weight, sample_weight(options)
    if not of_kind["label_smoothing"]:
        factor, samples = product(row_weight, samples), None
    return plan(
        "cross_entropy",
        input,
        options,
        Rows(
            classes=checked.classes,
            ignored=checked.ignored,
            weight=computed(factor, input),
            sample_weight=computed(samples, input),
        ),
        shape=target.shape,
        class_count=checked.class_count,
        weight_sum=weight_sum,
        ignored_count=checked.ignored_count,
        row_weight=row_weight,
        class_weight=Shared(weights) if weights is not None and of_kind["label_smoothing"] else None,
        **of_kind,
    )


def _probability_slab(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    of_kind: dict[str, Any],
    options: Options,
) -> Slab:
    return plan(
        "cross_entropy",
        input,
        options,
        Rows(sample_weight=computed(sample_weight(options), input)),
        shape=target_shape(input),
        class_count=class_count(input),
        weight_sum=float(target_shape(input).numel()),
        target=target,
        class_weight=None if weight is None else Shared(weight.detach()),
        **of_kind,
    )
