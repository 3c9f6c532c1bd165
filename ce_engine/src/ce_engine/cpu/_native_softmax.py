"""Softmax cross-entropy and the NLL loss by compiled kernels."""

import math
import struct
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._kernel_rows import Kind, RowResults, Rows
from ce_engine._libraries import DTYPE_NUMBERS, Library
from ce_engine.cpu._launch import Launch, packed_addresses
from ce_engine.cpu._targets import smooth_target

STEP_BYTES = 128  # of numbers that are computed at a time, as in native/vectors/lanes.h

# As in native/launch.h: the form; label smoothing and distributions.
FORM = struct.Struct("@ 9q q 3q 4? 0q")
TARGETS = struct.Struct("@ 5d 2P q")


Layout = tuple[tuple[int, ...], torch.dtype]  # strides in elements


def _layout(x: Tensor | None) -> Layout | None:
    return None if x is None else (x.stride(), x.dtype)


@lru_cache(1024)
def native_form(
    shape: tuple[int, ...], input: Layout, target: Layout | None, out: Layout | None, scale_stride: int, is_log: bool
) -> bytes:
    """The form of launches whose input has such a shape, and whose tensors lie like this."""
    *samples, positions, class_count = shape
    compute_dtype = torch.float64 if input[1] is torch.float64 else torch.float32
    by_columns = class_count < _step(compute_dtype) or not all(
        _in_rows(shape, layout) for layout in (input, target, out)
    )
    return FORM.pack(
        *_strides(shape, input, by_columns),
        *_strides(shape, target, by_columns),
        *_strides(shape, out, by_columns),
        scale_stride,
        math.prod((*samples, positions)),
        class_count,
        positions,
        by_columns,
        is_log,
        target is not None and target[1] is compute_dtype,
        out is not None and out[1] is compute_dtype,
    )


class _Targets(NamedTuple):
    """What all rows have in common, as in native/launch.h."""

    hard: float
    smooth: float
    smooth_sum: float
    z_loss: float = 0.0
    softcap_inverse: float = 0.0
    top_k: int = 0
    hard_of_class: Tensor | None = None
    smooth_of_class: Tensor | None = None

    @classmethod
    def of(cls, kind: Kind, softcap_inverse: float) -> "_Targets":
        smoothing, of_rows = kind.label_smoothing, (kind.z_loss, softcap_inverse, kind.top_k)
        if kind.class_weight is None:
            return cls(1 - smoothing, smoothing / kind.class_count, smoothing, *of_rows)
        smooth, smooth_sum = smooth_target(kind)
        hard = kind.class_weight.tensor.to(torch.float64) * (1 - smoothing)
        return cls(
            1 - smoothing,
            smoothing / kind.class_count,
            smooth_sum,
            *of_rows,
            hard_of_class=_after_a_step(hard, kind),
            smooth_of_class=_after_a_step(smooth, kind),
        )

    def packed(self) -> bytes:
        tensors = self.hard_of_class, self.smooth_of_class
        numbers = self.hard, self.smooth, self.smooth_sum, self.z_loss, self.softcap_inverse
        return TARGETS.pack(*numbers, *(0 if x is None else x.data_ptr() for x in tensors), self.top_k)


def _after_a_step(numbers: Tensor, kind: Kind) -> Tensor:  # (C)
    """A copy with room for a step before it, of the dtype that is computed in."""
    step = _step(kind.compute_dtype)
    copy = torch.zeros(step + kind.class_count, dtype=kind.compute_dtype, device="cpu")[step:]
    return copy.copy_(numbers)


PLAIN = _Targets(1.0, 0.0, 0.0).packed()


def softmax_launch(
    library: Library,
    kind: Kind,
    x: Tensor,  # (positions, C), for one sample, or (samples, positions, C)
    target: Tensor | None,  # likewise, of its dtype or the one that is computed in
    rows: Rows,
    out: RowResults,
    softcap_inverse: float = 0.0,  # of logits z that a softcap bounds: the gradient is times 1 - (z softcap_inverse)^2
) -> Launch:
    """The launch of logits; or of log-probabilities for the NLL loss, whose probabilities are not written.

    The gradient may be written over the input. It may be part of wider rows, if the probabilities are too.
    """
    is_log = kind.loss == "nll_loss"
    if is_log and (out.probabilities is not None or out.log_probabilities is not None):
        out = out._replace(probabilities=None, log_probabilities=None)
    scale_stride = 0 if rows.scale is None else rows.scale.stride(0)
    form = native_form(x.shape, (x.stride(), x.dtype), _layout(target), _layout(out.elements), scale_stride, is_log)
    is_plain = target is None and not (kind.label_smoothing or kind.z_loss or kind.top_k or softcap_inverse)
    targets = None if is_plain else _Targets.of(kind, softcap_inverse)
    tensors = (x, target, *rows, *out)
    arguments = packed_addresses(tensors) + form + (PLAIN if targets is None else targets.packed())
    return Launch(library.softmax, DTYPE_NUMBERS[kind.dtype], arguments, (tensors, targets))


def _step(compute_dtype: torch.dtype) -> int:
    """Several rows of fewer classes are computed at a time, whatever their layout."""
    return STEP_BYTES // compute_dtype.itemsize


def _in_rows(shape: tuple[int, ...], layout: Layout | None) -> bool:
    """Whether the C numbers of each row lie side by side, and the rows equally far apart."""
    if layout is None:
        return True
    *samples, position, number = layout[0]
    apart = not samples or 1 in shape[:2] or samples[0] == shape[1] * position
    return number == 1 and apart


def _strides(shape: tuple[int, ...], layout: Layout | None, by_columns: bool) -> tuple[int, ...]:
    """Of samples, positions and classes. Where rows are equally far apart, a position's stride is that of rows."""
    if layout is None:
        return 0, 0, 0
    strides = layout[0]
    if len(strides) == 2:
        return 0, *strides
    return (strides[0], strides[0], 1) if shape[1] == 1 and not by_columns else strides
