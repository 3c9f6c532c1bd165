"""The binary losses by compiled kernels."""

import struct

from torch import Tensor

from ce_engine._kernel_rows import Kind, RowResults, Rows
from ce_engine._libraries import DTYPE_NUMBERS, Library
from ce_engine.cpu._launch import Launch, packed_addresses

FORM = struct.Struct("@ 2q 3? 0q")  # as in native/launch.h


def binary_launch(
    library: Library,
    kind: Kind,
    x: Tensor,  # (1, elements, 1)
    target: Tensor | None,  # likewise, of its dtype or the one that is computed in
    rows: Rows,
    out: RowResults,
) -> Launch:
    """The launch of probabilities or of logits."""
    tensors = (x.contiguous(), None if target is None else target.contiguous(), *rows, *out)
    form = FORM.pack(
        x.numel(),
        0 if rows.scale is None else rows.scale.stride(0),
        kind.loss == "binary_cross_entropy",
        target is not None and target.dtype is kind.compute_dtype,
        out.grad is not None and out.grad.dtype is kind.compute_dtype,
    )
    return Launch(library.binary, DTYPE_NUMBERS[kind.dtype], packed_addresses(tensors) + form, tensors)
