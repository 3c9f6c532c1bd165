"""Checks of arguments against each other, for several losses. No element is looked at."""

from torch import Size, Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._plans.options import OF_TARGETS, WEIGHTINGS, Options
from ce_engine._plans.validation import (
    check_broadcasts,
    check_choice,
    check_class_weight,
    check_floating,
    check_grad_output,
    check_shape,
    check_target_like_input,
)
from ce_engine._rows import class_count


def check_weight_of_classes(weight: Tensor | str | None, input: Tensor) -> None:
    if isinstance(weight, str):
        check_choice("weight", weight, WEIGHTINGS)
    elif weight is not None:
        check_class_weight(weight, class_count(input))


def check_no_target_outputs(options: Options, targets: str) -> None:
    """Checks that no outputs are wanted that only class indices have."""
    wrong = [name for name in OF_TARGETS if name in options.outputs]
    if wrong:
        raise InvalidArgumentError("outputs", f"expected no {wrong[0]!r}, which {targets} do not have")


def check_factors_of_rows(options: Options, shape: Size) -> None:
    """Checks arguments with a number for each row, or for the loss, given the shape of rows."""
    if options.sample_weight is not None:
        check_shape("sample_weight", options.sample_weight, shape, "the loss's")
    check_grad_output(options.grad_output, shape if options.reduction == "none" else Size(), grad=options.grad)


def check_elements(input: Tensor, target: Tensor, weight: Tensor | str | None, options: Options) -> None:
    """Checks the arguments of a loss whose rows are single elements."""
    check_floating("input", input)
    check_target_like_input(target, input)
    if isinstance(weight, str):
        check_choice("weight", weight, WEIGHTINGS)
    elif weight is not None:
        check_broadcasts("weight", weight, input.shape)
    if "lse" in options.outputs:
        raise InvalidArgumentError("outputs", "expected no 'lse', which binary losses do not have")
    check_no_target_outputs(options, "binary losses")
    if options.top_k:
        raise InvalidArgumentError(
            "top_k", f"expected 0 for binary losses, whose rows have no classes, got {options.top_k}"
        )
    check_factors_of_rows(options, input.shape)
