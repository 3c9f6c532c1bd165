"""Targets that have log-probabilities of some classes only. An entry of -infinity has no share: it names nothing."""

import math

import torch
from torch import Tensor

from ce_engine._errors import InvalidArgumentError

NOTHING = -1  # no class


def most_probable_named(
    log_p: Tensor,  # (R, k)
    classes: Tensor,  # (R, k) int64
) -> Tensor:  # (R) int64
    """The class with the largest log-probability, the first class in a tie; `NOTHING` where a row names none."""
    if not log_p.shape[1]:
        return torch.full(log_p.shape[:1], NOTHING, device=log_p.device)
    largest = log_p.amax(1, keepdim=True)
    is_largest = torch.where(largest.isnan(), log_p.isnan(), log_p == largest)
    found = torch.where(is_largest, classes, torch.iinfo(torch.int64).max).amin(1)
    return torch.where(largest[:, 0] == -math.inf, NOTHING, found)


def check_named(
    log_p: Tensor,  # (R, k), on the host
    classes: Tensor,  # (R, k) int64, on the host
    class_count: int,
) -> None:
    """Checks the classes of entries that have a share: each is a class, and no row names one twice.

    Raises:
        InvalidArgumentError: Some are not; it tells the first row.
    """
    has_share = log_p != -math.inf
    wrong = has_share & ((classes < 0) | (classes >= class_count))
    if wrong.any():
        row = int(wrong.any(1).to(torch.uint8).argmax())
        came = int(classes[row][wrong[row]][0])
        problem = f"expected classes in [0, {class_count}) where the log-probability is not -infinity, got {came}"
        raise InvalidArgumentError("target_classes", problem, ("row", row))
    if classes.shape[1] > 1:
        _check_different(torch.where(has_share, classes, NOTHING))


def _check_different(classes: Tensor) -> None:
    ordered = classes.sort(1).values
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NOTHING)
    if twice.any():
        row = int(twice.any(1).to(torch.uint8).argmax())
        came = int(ordered[row, 1:][twice[row]][0])
        raise InvalidArgumentError(
            "target_classes", f"expected each class once in a row, got {came} twice", ("row", row)
        )
