"""The binary losses by compiled kernels."""

import struct

from torch import Tensor

from ce_engine._libraries import DTYPE_NUMBERS
from ce_engine._slab import RowResults, Rows
from ce_engine.cpu._launch import Launch, packed_addresses
from ce_engine.cpu._native_kernel import NativeKernel

FORM = struct.Struct("@ 2q 3? 0q")  # as in native/launch.h


class NativeBinaryKernel(NativeKernel):
    """Of probabilities or of logits."""

    def launch_of(self, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults) -> Launch:
        dtype = self.kind.compute_dtype
        tensors = (x.contiguous(), None if target is None else target.contiguous(), *rows, *out)
        form = FORM.pack(
            x.numel(),
            0 if rows.scale is None else rows.scale.stride(0),
            self.kind.loss == "binary_cross_entropy",
            target is not None and target.dtype is dtype,
            out.grad is not None and out.grad.dtype is dtype,
        )
        arguments = packed_addresses(tensors) + form
        return Launch(self.library.binary, DTYPE_NUMBERS[self.kind.dtype], arguments, None, tensors)
