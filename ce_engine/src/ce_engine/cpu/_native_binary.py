"""The binary losses by compiled kernels."""

import struct

from torch import Tensor

from ce_engine._libraries import DTYPE_NUMBERS
from ce_engine._slab import RowResults, Rows
from ce_engine.cpu._launch import Launch, address
from ce_engine.cpu._native_kernel import NativeKernel, contiguous

LAUNCH = struct.Struct("@ PP ?? q 3Pq PP ? 3P PP")  # as in native/launch.h


class NativeBinaryKernel(NativeKernel):
    """Of probabilities or of logits."""

    def launch_of(self, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults) -> Launch:
        x, target = x.contiguous(), contiguous(target)
        weight, pos_weight = contiguous(rows.weight), contiguous(rows.pos_weight)
        dtype = self.kind.compute_dtype
        arguments = LAUNCH.pack(
            x.data_ptr(),
            address(target),
            target is not None and target.dtype is dtype,
            self.kind.loss == "binary_cross_entropy",
            x.numel(),
            address(weight),
            address(pos_weight),
            address(rows.scale),
            0 if rows.scale is None else rows.scale.stride(0),
            out.losses.data_ptr(),
            address(out.grad),
            out.grad is not None and out.grad.dtype is dtype,
            address(out.probabilities),
            address(out.log_probabilities),
            address(out.entropy),
            address(out.predictions),
            address(out.correct),
        )
        tensors = (x, target, weight, pos_weight, rows, out)
        return Launch(self.library.binary, DTYPE_NUMBERS[self.kind.dtype], arguments, None, tensors)
