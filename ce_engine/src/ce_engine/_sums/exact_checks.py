"""Checks what is added up exactly, before compiled code reads it by its address."""

import torch
from torch import Size, Tensor

from ce_engine._errors import InvalidArgumentError

LOSSES = (torch.float32, torch.float64)
SIGNED = (torch.int64, torch.int32, torch.int16, torch.int8)
CLASSES = (*SIGNED, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.bool)


def check_rows(losses: Tensor, weights: Tensor | None, changes: Tensor | None = None) -> None:
    """Checks the numbers of rows.

    Raises:
        InvalidArgumentError: They are of another dtype or shape than they must be.
    """
    if losses.dim() != 1 or losses.dtype not in LOSSES:
        raise InvalidArgumentError("losses", f"expected shape (R) in float32 or float64, got {_told(losses)}")
    if weights is not None:
        _check_column("reduction.row_weight", weights, losses.shape, torch.float64)
    if changes is not None:
        _check_column("changes", changes, losses.shape, *LOSSES)


def check_columns(losses: Tensor, classes: Tensor, ignored: Tensor | None, correct: Tensor | None) -> None:
    """Checks what else is known of rows.

    Raises:
        InvalidArgumentError: As of `check_rows`.
    """
    _check_column("classes", classes, losses.shape, *CLASSES)
    for name, column in (("ignored", ignored), ("correct", correct)):
        if column is not None:
            _check_column(name, column, losses.shape, torch.bool)


def _check_column(name: str, column: Tensor, shape: Size, *dtypes: torch.dtype) -> None:
    if column.shape != shape or column.dtype not in dtypes:
        of = ", ".join(map(_name, dtypes))
        raise InvalidArgumentError(name, f"expected shape {tuple(shape)} in {of}, got {_told(column)}")


def _told(column: Tensor) -> str:
    return f"{tuple(column.shape)} in {_name(column.dtype)}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
