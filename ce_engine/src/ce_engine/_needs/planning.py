"""Memory of planning: what is made of targets and weights."""

from typing import NamedTuple

import torch

from ce_engine._needs.divergence import checking_bytes, kept_bytes
from ce_engine._needs.form import Form, TensorForm
from ce_engine._plans.validation import PART_ROWS

OBJECTS = 2**14  # tensors and other objects of Python, a slab
FLAGS_OF_PART = 5  # bytes a row of a part, while it is checked
DOUBLE = 8  # bytes of float64 and int64


class Planning(NamedTuple):
    """Bytes of planning.

    Attributes:
        kept: Until the slab was evaluated.
        more: Beside these while it is planned.
    """

    kept: int
    more: int

    @classmethod
    def of(cls, form: Form) -> "Planning":
        kept = OBJECTS + _classes(form) + _row_weights(form) + _factors(form) + _scale(form)
        checked = FLAGS_OF_PART * min(form.row_count, PART_ROWS)
        if form.is_divergence:
            kept, checked = kept + kept_bytes(form), checked + checking_bytes(form)
        return cls(kept, checked + _while_weighing(form) + _while_multiplying(form))


def _classes(form: Form) -> int:
    """Classes as int64, unless the caller's can be read; with zeros for ignored rows, and flags of these."""
    return (DOUBLE + 1) * form.row_count if form.has_classes else 0


def _row_weights(form: Form) -> int:
    """The weights of rows' classes in float64, whose sum `mean` divides by; and the weights that were computed."""
    if form.weight is None or not form.has_classes or not form.row_count:
        return 0
    return DOUBLE * (form.row_count + (form.class_count if isinstance(form.weight, str) else 0))


def _factors(form: Form) -> int:
    """Factors of rows in the dtype that is computed in."""
    weights, samples = _has_row_weights(form), form.sample_weight is not None
    is_product = weights and samples and not form.label_smoothing
    is_read = weights and not is_product and isinstance(form.weight, TensorForm) and _can_be_read(form.weight, form)
    columns = (weights and not is_read, samples and not is_product, not _can_be_read(form.pos_weight, form))
    return sum(columns) * form.row_count * form.compute_bytes


def _scale(form: Form) -> int:
    """The incoming gradient of each row."""
    return form.row_count * form.compute_bytes if form.grad_output is not None and form.reduction == "none" else 0


def _while_weighing(form: Form) -> int:
    """Counts of classes, and weights of classes or elements, on their way to factors."""
    weight, rows, classes = form.weight, form.row_count, form.class_count
    if not rows or not _has_row_weights(form):
        return 0
    if form.is_elementwise:
        precise = 0 if form.sample_weight is None else DOUBLE
        return _broadcast(weight, form) if isinstance(weight, TensorForm) else (1 + precise) * rows
    counting = (DOUBLE + 2) * rows + 5 * DOUBLE * classes if isinstance(weight, str) else 0
    return max(counting, DOUBLE * classes)


def _while_multiplying(form: Form) -> int:
    """Sample weights as they are copied, and their products with weights in float64."""
    samples, rows = form.sample_weight, form.row_count
    spread = 0 if form.pos_weight is None else _broadcast(form.pos_weight, form)
    if samples is None:
        return spread
    widened = 0 if samples.dtype is torch.float64 else DOUBLE  # PyTorch multiplies tensors of one dtype
    return max(spread, rows * (samples.dtype.itemsize + (DOUBLE + widened if _has_row_weights(form) else 0)))


def _broadcast(weight: TensorForm, form: Form) -> int:
    """A weight of the input's shape, unless it can be viewed in this shape."""
    is_view = weight.is_contiguous and weight.element_count == form.row_count
    return 0 if is_view else form.row_count * weight.dtype.itemsize


def _can_be_read(weight: TensorForm | None, form: Form) -> bool:
    """Whether a weight is a factor of rows as it is."""
    if weight is None:
        return True
    return weight.dtype is form.compute_dtype and not _broadcast(weight, form) and not weight.is_neg


def _has_row_weights(form: Form) -> bool:
    """Whether rows have weights other than samples': weights of classes are no factors of distributions."""
    return form.weight is not None and (form.is_elementwise or form.has_classes)
