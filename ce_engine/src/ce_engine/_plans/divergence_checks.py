"""Checks of a divergence's arguments."""

from collections.abc import Collection

from torch import Size, Tensor

from ce_engine._divergences.divergence import JENSEN_SHANNON, KINDS, RENORMALIZE, TAILS
from ce_engine._errors import InvalidArgumentError
from ce_engine._heads.head import Head
from ce_engine._plans.options import OF_TARGETS
from ce_engine._plans.validation import (
    check_choice,
    check_floating,
    check_integers,
    check_number,
    check_same_device,
    check_same_precision,
    check_type,
)

MARGIN = 1e-15  # of beta from 0 and 1: then float32 has it, and what is left of 1


def check_numbers_of(divergence: str, beta: float | None, temperature: float) -> None:
    """Checks which divergence it is."""
    check_choice("divergence", divergence, KINDS)
    check_number("temperature", temperature)
    if beta is None:
        return
    check_type("beta", beta, float | int)
    if divergence != JENSEN_SHANNON:
        raise InvalidArgumentError("beta", f"expected none with {divergence!r}, got {beta}")
    if not MARGIN <= beta <= 1 - MARGIN:
        raise InvalidArgumentError("beta", f"expected a number in (0, 1), at least 1e-15 from both, got {beta}")


def check_no_log_target(keywords: Collection[str]) -> None:
    """Checks that nobody takes it for PyTorch's ``kl_div``."""
    if "log_target" in keywords:
        problem = "expected none: targets are logits, and log-probabilities are logits too; pass log(p) for p"
        raise InvalidArgumentError("log_target", problem)


def check_heads(
    input: Tensor, target: Tensor, head: Head | None, target_head: Head | None, target_classes: Tensor | None
) -> None:
    """Checks hidden states. Their logits have the shape that `check_arguments` looks at."""
    check_floating("input", input)
    check_floating("target", target)
    check_same_device(target, input)
    for name, x in (("input", input), ("target", target)):
        if not x.dim():
            raise InvalidArgumentError(name, "expected shape (C) or (..., C), got a scalar")
    if head is not None:
        _check_states("input", input, "head", head)
    if target_head is None:
        return
    _check_states("target", target, "target_head", target_head)
    if target_classes is not None:
        raise InvalidArgumentError("target_classes", "expected none with target_head, got a tensor")
    count, whose = (input.shape[-1], "the input") if head is None else (head.class_count, "head")
    if target_head.class_count != count:
        problem = f"expected a head of {count} classes, as {whose} has, got {target_head.class_count}"
        raise InvalidArgumentError("target_head", problem)


def check_arguments(
    input: Tensor,
    target: Tensor,
    logits: Size,  # of the input's model
    target_logits: Size,  # of the target's
    target_classes: Tensor | None,
    tail: str | None,
) -> None:
    """Checks shapes, given those of logits, and what becomes of classes that are not named."""
    if target_classes is not None:
        _check_named(target, target_classes, input, tail)
    elif target_logits != logits:
        problem = f"expected logits of the input's shape {tuple(logits)}, got {tuple(target_logits)}"
        raise InvalidArgumentError("target", f"{problem}; targets of some classes need target_classes")
    elif tail is not None:
        raise InvalidArgumentError("tail", f"expected none without target_classes, got {tail!r}")


def check_temperature(temperature: float, tail: str | None) -> None:
    """Checks that shares of named classes can be made with this temperature."""
    if temperature != 1 and tail not in (None, RENORMALIZE):
        raise InvalidArgumentError("temperature", f"expected 1 with tail {tail!r}, got {temperature}")


def check_labels(labels: Tensor | None, ignore_index: int, rows: Size) -> None:
    """Checks the form of labels."""
    check_type("ignore_index", ignore_index, int)
    if labels is not None:
        check_integers("labels", labels)
        _check_of_rows("labels", labels.shape, rows)


def check_outputs_of_labels(outputs: Collection[str], labels: Tensor | None) -> None:
    """Checks that there are labels for the outputs that need them."""
    found = [name for name in OF_TARGETS if name in outputs]
    if found and labels is None:
        raise InvalidArgumentError("outputs", f"expected no {found[0]!r} without labels, which it is of")


def _check_states(name: str, x: Tensor, of: str, head: Head) -> None:
    check_type(of, head, Head)
    if x.shape[-1] != head.width:
        expected = f"expected shape (..., {head.width}), the width of {of} last"
        raise InvalidArgumentError(name, f"{expected}, got {tuple(x.shape)}")
    check_same_precision(name, x, of, head.dtype)
    if not x.is_cpu:
        raise InvalidArgumentError(name, f"expected it on the CPU with {of}, got it on {x.device}")


def _check_named(target: Tensor, target_classes: Tensor, input: Tensor, tail: str | None) -> None:
    check_integers("target_classes", target_classes)
    _check_of_rows("target", target.shape[:-1], input.shape[:-1], "and then one number for each named class")
    if target_classes.shape != target.shape:
        problem = f"expected the target's shape {tuple(target.shape)}, got {tuple(target_classes.shape)}"
        raise InvalidArgumentError("target_classes", problem)
    if tail is None:
        raise InvalidArgumentError("tail", f"expected one of {TAILS} with target_classes, got None")
    check_choice("tail", tail, TAILS)


def _check_of_rows(name: str, shape: Size, rows: Size, more: str = "one class for each row") -> None:
    if shape != rows:
        raise InvalidArgumentError(name, f"expected shape {tuple(rows)}, {more}, got {tuple(shape)}")
