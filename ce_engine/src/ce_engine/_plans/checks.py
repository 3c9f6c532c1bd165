"""The losses' arguments, checked as far as types, shapes and options tell; no element is looked at."""

from typing import Unpack

from torch import Size, Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._plans.options import WEIGHTINGS, Common, Options
from ce_engine._plans.validation import (
    check_broadcasts,
    check_choice,
    check_class_input,
    check_class_weight,
    check_floating,
    check_grad_output,
    check_index_target,
    check_label_smoothing,
    check_probability_target,
    check_shape,
    check_target_like_input,
    check_type,
)
from ce_engine._rows import class_count, target_shape


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | str | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    **common: Unpack[Common],
) -> Options:
    options = Options(reduction, **common)
    check_label_smoothing(label_smoothing)
    check_type("ignore_index", ignore_index, int)
    check_class_input(input)
    if isinstance(target, Tensor) and target.dtype.is_floating_point:
        check_probability_target(target, input)
        _check_options_of_probabilities(ignore_index, weight)
    else:
        check_index_target(target, input)
    _check_weight_of_classes(weight, input)
    return _checked(options, target_shape(input))


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | str | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    **common: Unpack[Common],
) -> Options:
    options = Options(reduction, **common)
    check_type("ignore_index", ignore_index, int)
    check_class_input(input)
    check_index_target(target, input)
    _check_weight_of_classes(weight, input)
    return _checked(options, target_shape(input))


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | str | None = None,
    reduction: str = "mean",
    **common: Unpack[Common],
) -> Options:
    options = Options(reduction, **common)
    check_floating("input", input)
    check_target_like_input(target, input)
    _check_weight_of_elements(weight, input)
    return _checked_binary(options, input.shape)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | str | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
    **common: Unpack[Common],
) -> Options:
    options = binary_cross_entropy(input, target, weight, reduction, **common)
    if pos_weight is not None:
        check_broadcasts("pos_weight", pos_weight, input.shape)
    return options


def _check_options_of_probabilities(ignore_index: int, weight: Tensor | str | None) -> None:
    if ignore_index >= 0:
        raise InvalidArgumentError(
            "ignore_index", f"expected a negative one for probability targets, got {ignore_index}"
        )
    if isinstance(weight, str):
        raise InvalidArgumentError("weight", f"expected numbers for probability targets, got {weight!r}")


def _check_weight_of_classes(weight: Tensor | str | None, input: Tensor) -> None:
    if isinstance(weight, str):
        check_choice("weight", weight, WEIGHTINGS)
    elif weight is not None:
        check_class_weight(weight, class_count(input))


def _check_weight_of_elements(weight: Tensor | str | None, input: Tensor) -> None:
    if isinstance(weight, str):
        check_choice("weight", weight, WEIGHTINGS)
    elif weight is not None:
        check_broadcasts("weight", weight, input.shape)


def _checked_binary(options: Options, shape: Size) -> Options:
    if "lse" in options.outputs:
        raise InvalidArgumentError("outputs", "expected no 'lse', which binary losses have none of")
    return _checked(options, shape)


def _checked(options: Options, shape: Size) -> Options:  # of rows
    if options.sample_weight is not None:
        check_shape("sample_weight", options.sample_weight, shape, "the loss's")
    check_grad_output(options.grad_output, shape if options.reduction == "none" else Size(), grad=options.grad)
    return options
