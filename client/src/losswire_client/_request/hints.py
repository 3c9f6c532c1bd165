"""Hints at common mistakes for a caller whose target is refused, by the client or by the server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire.losses import LOSSES
from losswire.rows import class_count, row_shape
from losswire_client._errors import InvalidArgumentError
from losswire_client._request.evaluation import Evaluation

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

VOID = (255, 65535)  # the values of pixels without a label in label images
ONE_LOGIT_A_ROW = (
    "for one logit a row use binary_cross_entropy_with_logits, and for one probability binary_cross_entropy, "
    "with a target of floats"
)
CLASSES_LAST = "if the classes are the input's last dimension, pass np.moveaxis(input, -1, 1), or input.movedim(-1, 1)"
ONE_HOT = "if they are one-hot, pass target.argmax(1)"
COLUMN = "pass target.reshape(-1)"
LABELS = "for the cross-entropy of class indices use cross_entropy or linear_cross_entropy"
OF_LAST = frozenset(name for name, kind in LOSSES.items() if kind.classes_last)
FLOATS = "if they are class indices, pass them in an integer dtype, as in target.astype('int64')"


@contextmanager
def hinting(evaluation: Evaluation) -> Iterator[None]:
    """Adds a hint to the error of a target, whether the client or the server refused it."""
    try:
        yield
    except InvalidArgumentError as error:
        if error.argument == "target" and not evaluation.is_elementwise and evaluation.input.ndim:
            error.hint = (_hint_beside_head if evaluation.loss in OF_LAST else _hint)(evaluation)
        raise


def _hint(evaluation: Evaluation) -> str:
    shape, target = evaluation.input.shape, evaluation.arrays["target"]
    if _is_one_number_a_row(shape) and target.ndim and target.size == np.prod(shape):
        return ONE_LOGIT_A_ROW
    if target.dtype.kind not in "iu":
        return FLOATS if target.dtype.kind == "f" and target.shape == row_shape(shape) else ""
    if target.shape == row_shape(shape):
        return hint_of_classes(target, class_count(shape), evaluation.options.ignore_index)
    return _hint_of_shape(shape, target.shape)


def _hint_beside_head(evaluation: Evaluation) -> str:
    """The same for losses whose classes are last, which may be those of a head."""
    target, rows = evaluation.arrays["target"], evaluation.layout.row_shape
    if evaluation.loss == "kl_divergence":
        is_of_rows = target.dtype.kind in "iu" and target.shape == rows
        return LABELS if is_of_rows else ""
    if target.dtype.kind not in "iu":
        return FLOATS if target.dtype.kind == "f" and target.shape == rows else ""
    if target.shape != rows:
        return COLUMN if len(rows) == 1 and target.size == rows[0] else ""
    counts = [head.class_count for head in evaluation.heads.values()]
    return hint_of_classes(target, counts[0], evaluation.options.ignore_index) if counts else ""


def _is_one_number_a_row(shape: Shape) -> bool:
    return len(shape) == 1 or class_count(shape) == 1


def _hint_of_shape(shape: Shape, target_shape: Shape) -> str:
    if len(shape) > 2 and target_shape == shape[:-1]:
        return CLASSES_LAST
    if target_shape == shape:
        return ONE_HOT
    return COLUMN if len(shape) == 2 and np.prod(target_shape) == shape[0] else ""


def hint_of_classes(target: Array, classes: int, ignore_index: int) -> str:
    """A hint at the meaning of class indices out of range; empty if there is no guess."""
    wrong = ((target < 0) | (target >= classes)) & (target != ignore_index)
    if not wrong.any():
        return ""
    first = int(target.flat[wrong.argmax()])
    if first < 0 or first in VOID:
        return f"if rows with it are to be ignored, pass ignore_index={first}"
    if first == classes and target.size > 1 and target[target != ignore_index].min() > 0:
        return "classes are counted from 0: if these are counted from 1, pass target - 1"
    return ""
