"""Divergences by compiled kernels; what else is asked of the input's distribution comes from the softmax's."""

import struct

import torch
from torch import Tensor

from ce_engine._divergences.divergence import KINDS, TAILS
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._libraries import DTYPE_NUMBERS, Library
from ce_engine._memory import scratch
from ce_engine.cpu._launch import Launch, packed_addresses
from ce_engine.cpu._native_softmax import softmax_launch

FORM = struct.Struct("@ 9q 2d 2? 0q")  # as in native/divergence_launch.h


def divergence_launch(
    library: Library,
    kind: Kind,
    x: Tensor,  # (positions, C) or (1, positions, C); positions may be further apart than C
    target: Tensor | None,  # likewise, with its own width; of the input's dtype or the one that is computed in
    rows: Rows,
    out: RowResults,  # its gradient may be the input
) -> Launch:
    """The launch of the losses, the gradient, predictions and changes."""
    form, target = present(kind.divergence), side_by_side(present(target))
    x = side_by_side(x)
    tensors = (x, target, *rows, *out)
    packed = FORM.pack(
        x.stride(-2),
        target.stride(-2),
        0 if out.grad is None else out.grad.stride(-2),
        0 if rows.scale is None else rows.scale.stride(0),
        x.shape[:-1].numel(),
        kind.class_count,
        -1 if form.named_count is None else form.named_count,
        KINDS.index(form.kind),
        0 if form.tail is None else TAILS.index(form.tail),
        form.beta,
        1 / form.temperature,
        target.dtype is kind.compute_dtype,
        out.grad is not None and out.grad.dtype is kind.compute_dtype,
    )
    return Launch(library.divergence, DTYPE_NUMBERS[kind.dtype], packed_addresses(tensors) + packed, tensors)


def side_by_side(x: Tensor) -> Tensor:
    """Numbers of a row one after the other in memory; where they are not, a copy."""
    return x if x.shape[-1] < 2 or x.stride(-1) == 1 else x.contiguous()


def write_softmax(library: Library, kind: Kind, x: Tensor, rows: Rows, out: RowResults) -> None:
    """Writes these results of a block, of logits that were divided by the temperature."""
    temperature = present(kind.divergence).temperature
    if temperature != 1:
        tempered = scratch.like(x, kind.compute_dtype, "tempered")
        x, kind = torch.mul(x, 1 / temperature, out=tempered), kind._replace(dtype=kind.compute_dtype)
    classes = rows.classes
    if classes is None:
        classes = torch.zeros(out.losses.shape, dtype=torch.int64, device="cpu")
    losses = scratch.like(out.losses, kind.compute_dtype, "losses")
    own = out._replace(losses=losses, predictions=None, correct=None, changes=None, grad=None)
    softmax_launch(library, kind, x, None, Rows(classes, rows.ignored), own).take()
