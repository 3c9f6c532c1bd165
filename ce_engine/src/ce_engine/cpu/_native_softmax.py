"""Softmax cross-entropy and the NLL loss by compiled kernels."""

import struct
from typing import NamedTuple

import torch
from torch import Tensor

from ce_engine._libraries import DTYPE_NUMBERS
from ce_engine._slab import Kind, RowResults, Rows
from ce_engine.cpu._launch import Launch, address
from ce_engine.cpu._native_kernel import NativeKernel, contiguous
from ce_engine.cpu._targets import smooth_target

STEP_BYTES = 128  # of numbers that are computed at a time, as in native/lanes.h
COLUMN_BYTES, COLUMNS_BYTES, MOST_GROUPS = 64, 2**18, 8  # as in native/softmax_columns.h
FEW = 16  # classes: several rows of fewer are computed at a time, whatever their layout

# As in native/launch.h: input, rows; targets; factors of rows; results.
LAUNCH = struct.Struct("@ P3q 3q 2? PP3q ? 3d 2P  3PPq  PPPPPPPP3q ?")


class _Targets(NamedTuple):
    """What all rows' targets have in common, as in native/launch.h."""

    hard: float
    smooth: float
    smooth_sum: float
    hard_of_class: Tensor | None = None
    smooth_of_class: Tensor | None = None

    @classmethod
    def of(cls, kind: Kind) -> "_Targets":
        smoothing = kind.label_smoothing
        if kind.class_weight is None:
            return cls(1 - smoothing, smoothing / kind.class_count, smoothing)
        smooth, smooth_sum = smooth_target(kind)
        hard = kind.class_weight.tensor.to(torch.float64) * (1 - smoothing)
        return cls(
            1 - smoothing,
            smoothing / kind.class_count,
            smooth_sum,
            _after_a_step(hard, kind),
            _after_a_step(smooth, kind),
        )


def _after_a_step(numbers: Tensor, kind: Kind) -> Tensor:  # (C)
    """A copy with room for a step before it, of the dtype that is computed in."""
    step = STEP_BYTES // kind.compute_dtype.itemsize
    copy = torch.zeros(step + kind.class_count, dtype=kind.compute_dtype, device="cpu")[step:]
    return copy.copy_(numbers)


PLAIN = _Targets(1.0, 0.0, 0.0)


class NativeSoftmaxKernel(NativeKernel):
    """Of logits; or of log-probabilities for the NLL loss."""

    def launch_of(self, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults) -> Launch:
        kind, is_log = self.kind, self.kind.loss == "nll_loss"
        is_plain = target is None and not kind.label_smoothing
        targets = PLAIN if is_plain else _Targets.of(kind)
        grad = out.grad
        probabilities, log_probabilities = (None, None) if is_log else (out.probabilities, out.log_probabilities)
        written = grad if grad is not None else probabilities if probabilities is not None else log_probabilities
        by_columns = kind.class_count < FEW or not (_in_rows(x) and _in_rows(target) and _in_rows(written))
        classes, weight = contiguous(rows.classes), contiguous(rows.weight)
        sample_weight = contiguous(rows.sample_weight)
        positions = x.shape[-2]
        arguments = LAUNCH.pack(
            x.data_ptr(),
            *_strides(x, by_columns),
            positions if x.dim() == 2 else x.shape[0] * positions,
            kind.class_count,
            positions,
            by_columns,
            is_log,
            address(classes),
            address(target),
            *_strides(target, by_columns),
            target is not None and target.dtype is kind.compute_dtype,
            targets.hard,
            targets.smooth,
            targets.smooth_sum,
            address(targets.hard_of_class),
            address(targets.smooth_of_class),
            address(rows.ignored),
            address(weight),
            address(sample_weight),
            address(rows.scale),
            0 if rows.scale is None else rows.scale.stride(0),
            out.losses.data_ptr(),
            address(out.lse),
            address(out.entropy),
            address(out.predictions),
            address(out.correct),
            address(grad),
            address(probabilities),
            address(log_probabilities),
            *_strides(written, by_columns),
            grad is not None and grad.dtype is kind.compute_dtype,
        )
        kept = (_kept_numbers(kind, by_columns), kind.compute_dtype) if by_columns or written is not None else None
        tensors = (x, target, classes, weight, sample_weight, rows, out, targets)
        return Launch(self.library.softmax, DTYPE_NUMBERS[kind.dtype], arguments, kept, tensors)

    def finish(self, x: Tensor, out: RowResults) -> None:
        if self.kind.loss == "nll_loss" and out.probabilities is not None:
            out.probabilities.copy_(x).exp_()
        if self.kind.loss == "nll_loss" and out.log_probabilities is not None:
            out.log_probabilities.copy_(x)


def _kept_numbers(kind: Kind, by_columns: bool) -> int:
    itemsize = kind.compute_dtype.itemsize
    if by_columns:  # the input and its exponentials
        groups = min(max(COLUMNS_BYTES // (kind.class_count * COLUMN_BYTES), 1), MOST_GROUPS)
        return 2 * groups * kind.class_count * COLUMN_BYTES // itemsize
    step = STEP_BYTES // itemsize
    return (kind.class_count // step + 1) * step


def _in_rows(x: Tensor | None) -> bool:
    """Whether the C numbers of each row of x lie side by side, and its rows equally far apart."""
    if x is None:
        return True
    *samples, position, number = x.stride()
    apart = not samples or 1 in x.shape[:2] or samples[0] == x.shape[1] * position
    return number == 1 and apart


def _strides(x: Tensor | None, by_columns: bool) -> tuple[int, ...]:
    """Of samples, positions and classes. Where rows are equally far apart, a position's stride is that of rows."""
    if x is None:
        return 0, 0, 0
    if x.dim() == 2:
        return 0, *x.stride()
    return (x.stride(0), x.stride(0), 1) if x.shape[1] == 1 and not by_columns else x.stride()
