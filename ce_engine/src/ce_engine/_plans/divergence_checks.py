"""Checks of a divergence's arguments."""

import math
from collections.abc import Collection

from torch import Size, Tensor

from ce_engine._divergences.divergence import JENSEN_SHANNON, KINDS, RENORMALIZE, TAILS
from ce_engine._errors import InvalidArgumentError
from ce_engine._plans.validation import (
    check_choice,
    check_floating,
    check_integers,
    check_same_device,
    check_type,
)

OF_LABELS = ("target_log_probabilities", "target_ranks")


def check_numbers_of(divergence: str, beta: float | None, temperature: float) -> None:
    """Checks which divergence it is."""
    check_choice("divergence", divergence, KINDS)
    check_type("temperature", temperature, float | int)
    if not 0 < temperature < math.inf:
        raise InvalidArgumentError("temperature", f"expected a finite number above 0, got {temperature}")
    if beta is None:
        return
    check_type("beta", beta, float | int)
    if divergence != JENSEN_SHANNON:
        raise InvalidArgumentError("beta", f"expected none with {divergence!r}, got {beta}")
    if not 0 < beta < 1:
        raise InvalidArgumentError("beta", f"expected a number in (0, 1), got {beta}")


def check_arguments(
    input: Tensor,
    target: Tensor,
    target_classes: Tensor | None,
    tail: str | None,
    labels: Tensor | None,
    ignore_index: int,
    temperature: float,
) -> None:
    """Checks types, dtypes and shapes."""
    check_type("ignore_index", ignore_index, int)
    check_floating("input", input)
    if not input.dim():
        raise InvalidArgumentError("input", "expected shape (C) or (..., C), got a scalar")
    check_floating("target", target)
    check_same_device(target, input)
    if target_classes is None:
        _check_logits(target, input, tail)
    else:
        _check_named(target, target_classes, input, tail, temperature)
    if labels is not None:
        check_integers("labels", labels)
        _check_of_rows("labels", labels.shape, input)


def check_outputs_of_labels(outputs: Collection[str], labels: Tensor | None) -> None:
    """Checks that there are labels for the outputs that need them."""
    found = [name for name in OF_LABELS if name in outputs]
    if found and labels is None:
        raise InvalidArgumentError("outputs", f"expected no {found[0]!r} without labels, which it is of")


def _check_logits(target: Tensor, input: Tensor, tail: str | None) -> None:
    if target.shape != input.shape:
        problem = f"expected the input's shape {tuple(input.shape)}, got {tuple(target.shape)}"
        raise InvalidArgumentError("target", f"{problem}; targets of some classes need target_classes")
    if tail is not None:
        raise InvalidArgumentError("tail", f"expected none without target_classes, got {tail!r}")


def _check_named(target: Tensor, target_classes: Tensor, input: Tensor, tail: str | None, temperature: float) -> None:
    check_integers("target_classes", target_classes)
    if not target.dim():
        raise InvalidArgumentError("target", "expected shape (k) or (..., k), got a scalar")
    _check_of_rows("target", target.shape[:-1], input, "and then one number for each named class")
    if target_classes.shape != target.shape:
        problem = f"expected the target's shape {tuple(target.shape)}, got {tuple(target_classes.shape)}"
        raise InvalidArgumentError("target_classes", problem)
    if tail is None:
        raise InvalidArgumentError("tail", f"expected one of {TAILS} with target_classes, got None")
    check_choice("tail", tail, TAILS)
    if temperature != 1 and tail != RENORMALIZE:
        raise InvalidArgumentError("temperature", f"expected 1 with tail {tail!r}, got {temperature}")


def _check_of_rows(name: str, shape: Size, input: Tensor, more: str = "one class for each row") -> None:
    expected = input.shape[:-1]
    if shape != expected:
        of_input = f"of input of shape {tuple(input.shape)}"
        raise InvalidArgumentError(name, f"expected shape {tuple(expected)}, {more} {of_input}, got {tuple(shape)}")
