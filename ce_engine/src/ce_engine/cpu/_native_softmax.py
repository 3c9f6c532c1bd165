"""Softmax cross-entropy and the NLL loss by compiled kernels."""

import struct
from typing import NamedTuple

import torch
from torch import Tensor

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
        return cls(1 - smoothing, smoothing / kind.class_count, smooth_sum, _after_a_step(hard, kind), _after_a_step(smooth, kind))


def _after_a_step(numbers: Tensor, kind: Kind) -> Tensor:  # (C)
    """A copy with room for a step before it, of the dtype that is computed in."""
    step = STEP_BYTES // kind.compute_dtype.itemsize
    copy = torch.zeros(step + kind.class_count, dtype=kind.compute_dtype, device="cpu")[step:]
    return copy.copy_(numbers)


class NativeSoftmaxKernel(NativeKernel):
    """Of logits, (samples, positions, C); or of log-probabilities for the NLL loss."""

    def evaluate(self, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults) -> None:
        super().evaluate(x, target, rows, out)
        if self.kind.loss == "nll_loss" and out.probabilities is not None:
            out.probabilities.copy_(x).exp_()
        if self.kind.loss == "nll_loss" and out.log_probabilities is not None:
            out.log_probabilities.copy_(x)

    def launch(self, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults) -> Launch:
        kind, targets = self.kind, _Targets.of(self.kind)
        is_log = kind.loss == "nll_loss"
        grad = out.grad
        probabilities, log_probabilities = (None, None) if is_log else (out.probabilities, out.log_probabilities)
        written = next((tensor for tensor in (grad, probabilities, log_probabilities) if tensor is not None), None)
        by_columns = x.shape[2] < FEW or not (_in_rows(x) and _in_rows(target) and _in_rows(written))
        classes, weight, sample_weight = contiguous(rows.classes), contiguous(rows.weight), contiguous(rows.sample_weight)
        arguments = LAUNCH.pack(
            x.data_ptr(),
            *_strides(x),
            x.shape[0] * x.shape[1],
            x.shape[2],
            x.shape[1],
            by_columns,
            is_log,
            address(classes),
            address(target),
            *_strides(target),
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
            *_strides(written),
            grad is not None and grad.dtype is kind.compute_dtype,
        )
        kept = (_kept_numbers(kind, by_columns), kind.compute_dtype) if by_columns or written is not None else None
        tensors = (x, target, classes, weight, sample_weight, *rows, *out, *targets[3:])
        return Launch(self.library.softmax, self.dtype_number, arguments, kept, *tensors)


def _kept_numbers(kind: Kind, by_columns: bool) -> int:
    itemsize = kind.compute_dtype.itemsize
    if by_columns:  # the input and its exponentials
        groups = min(max(COLUMNS_BYTES // (kind.class_count * COLUMN_BYTES), 1), MOST_GROUPS)
        return 2 * groups * kind.class_count * COLUMN_BYTES // itemsize
    step = STEP_BYTES // itemsize
    return (kind.class_count // step + 1) * step


def _in_rows(x: Tensor | None) -> bool:
    """Whether the C numbers of a row of x, (samples, positions, C), lie side by side, and its rows equally far apart."""
    if x is None:
        return True
    samples, positions, _ = x.shape
    sample, position, numbers = x.stride()
    return numbers == 1 and (samples == 1 or sample == positions * position)


def _strides(x: Tensor | None) -> tuple[int, ...]:
    return (0, 0, 0) if x is None else x.stride()
