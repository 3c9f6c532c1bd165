"""From a kind, operands and memory for results to launches of kernels."""

from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor

from ce_engine._clamps import LEAST_LOG, LEAST_VARIANCE
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine.gpu._divergence import write_divergences
from ce_engine.gpu._operands import Operands
from ce_engine.gpu._places import write_ranks, write_target_log_probabilities, write_top
from ce_engine.gpu._tiles import Tile, element_tile, row_alignment, row_tile
from ce_engine.gpu.kernels.binary import binary_kernel
from ce_engine.gpu.kernels.nll import argmax_kernel, nll_kernel
from ce_engine.gpu.kernels.softmax import softmax_kernel

BINARY_BLOCK = 1024
# If only some compilations fused a product and a sum into one rounding, a column of ones would give other bits than no
# column.
OPTIONS: dict[str, Any] = {"enable_fp_fusion": False}


def launch(
    kind: Kind,
    operands: Operands,
    out: RowResults,  # numbers are (R); tensors of the input's shape are (R, C), contiguous
) -> None:
    """Computes on the device of the tensors and its current stream, and writes all results there."""
    LAUNCHES[kind.loss](kind, operands, out)


def _launch_softmax(kind: Kind, operands: Operands, out: RowResults) -> None:
    rows, target = operands.rows, operands.target
    classes = rows.classes
    if target is not None and out.predictions is not None:
        classes = torch.empty_like(out.predictions)
        _launch_argmax(target, classes)
    write_ranks(operands, out)
    log_totals = torch.empty_like(out.losses) if out.top_classes is not None else None
    spread = target is not None or operands.keep is not None
    row_count, class_count = operands.x.shape
    elements = any(x is not None for x in (out.grad, out.probabilities, out.log_probabilities))
    tile = row_tile(class_count, kind.dtype, elements=elements)
    softmax_kernel[_grid(row_count, tile)](
        operands.x,
        target,
        classes,
        rows.ignored,
        rows.sample_weight if spread else rows.weight,
        rows.weight if spread else None,
        _scale(rows, out),
        operands.class_weight,
        operands.smooth,
        operands.keep,
        operands.z_loss,
        out.losses,
        out.z_losses,
        out.target_log_probabilities,
        log_totals,
        out.lse,
        out.entropy,
        out.predictions,
        out.correct,
        out.grad,
        out.probabilities,
        out.log_probabilities,
        row_count,
        class_count // row_alignment(class_count),
        GROUP=row_alignment(class_count),
        SCALE_STRIDE=_stride(rows.scale),
        SMOOTH_STRIDE=_stride(operands.smooth),
        ROWS=tile.rows,
        BLOCK=tile.block,
        LANES=tile.lanes,
        ONE_BLOCK=class_count <= tile.block,
        num_warps=tile.warps,
        **OPTIONS,
    )
    write_top(operands.x, log_totals, out)


def _launch_nll(kind: Kind, operands: Operands, out: RowResults) -> None:
    rows = operands.rows
    if out.predictions is not None:
        _launch_argmax(operands.x, out.predictions)
    if out.lse is not None or out.entropy is not None:
        _launch_softmax(kind, operands, RowResults(torch.empty_like(out.losses), out.lse, out.entropy))
    write_ranks(operands, out)
    write_target_log_probabilities(operands, out)
    write_top(operands.x, None, out)
    row_count, class_count = operands.x.shape
    elements = any(x is not None for x in (out.grad, out.probabilities, out.log_probabilities))
    tile = element_tile(class_count if elements else 1)
    nll_kernel[(*_grid(row_count, tile), triton.cdiv(class_count, tile.block) if elements else 1)](
        operands.x,
        rows.classes,
        rows.ignored,
        rows.weight,
        _scale(rows, out),
        out.losses,
        out.predictions,
        out.correct,
        out.grad,
        out.probabilities,
        out.log_probabilities,
        row_count,
        class_count // row_alignment(class_count),
        GROUP=row_alignment(class_count),
        SCALE_STRIDE=_stride(rows.scale),
        ROWS=tile.rows,
        BLOCK=tile.block,
        num_warps=tile.warps,
        **OPTIONS,
    )


def _launch_divergence(kind: Kind, operands: Operands, out: RowResults) -> None:
    if out.predictions is not None:
        _launch_argmax(operands.x, out.predictions)
    of_softmax = out._replace(predictions=None, correct=None, changes=None, grad=None)
    if any(x is not None for x in of_softmax[1:]):
        form, rows = present(kind.divergence), operands.rows
        x = operands.x if form.temperature == 1 else operands.x.to(kind.compute_dtype) / form.temperature
        classes = rows.classes if rows.classes is not None else torch.zeros_like(out.losses, dtype=torch.int64)
        own = Operands(x, None, Rows(classes, rows.ignored), keep=None, smooth=None, class_weight=None, z_loss=None)
        _launch_softmax(kind, own, of_softmax._replace(losses=torch.empty_like(out.losses)))
    write_divergences(kind, operands, out)


def _launch_argmax(
    x: Tensor,  # (R, C)
    predictions: Tensor,  # (R)
) -> None:
    row_count, class_count = x.shape
    tile = row_tile(class_count, x.dtype, elements=False)
    argmax_kernel[_grid(row_count, tile)](
        x,
        predictions,
        row_count,
        class_count // row_alignment(class_count),
        GROUP=row_alignment(class_count),
        ROWS=tile.rows,
        BLOCK=tile.block,
        LANES=tile.lanes,
        num_warps=tile.warps,
        **OPTIONS,
    )


def _launch_binary(kind: Kind, operands: Operands, out: RowResults) -> None:
    rows, row_count = operands.rows, operands.x.numel()
    binary_kernel[(triton.cdiv(row_count, BINARY_BLOCK),)](
        operands.x,
        operands.target,
        rows.weight,
        rows.pos_weight,
        _scale(rows, out),
        out.losses,
        out.entropy,
        out.predictions,
        out.correct,
        out.grad,
        out.probabilities,
        out.log_probabilities,
        row_count,
        LOGITS=kind.loss == "binary_cross_entropy_with_logits",
        SCALE_STRIDE=_stride(rows.scale),
        BLOCK=BINARY_BLOCK,
        LEAST_LOG=LEAST_LOG,
        LEAST_VARIANCE=LEAST_VARIANCE,
        num_warps=4,
        **OPTIONS,
    )


def _grid(row_count: int, tile: Tile) -> tuple[int]:
    return (triton.cdiv(row_count, tile.rows),)


def _scale(rows: Rows, out: RowResults) -> Tensor | None:
    return None if out.grad is None else present(rows.scale)


def _stride(numbers: Tensor | None) -> int:
    """0 for one number that stands for all."""
    return 0 if numbers is None or numbers.numel() == 1 else 1


LAUNCHES: dict[str, Callable[[Kind, Operands, RowResults], None]] = {
    "cross_entropy": _launch_softmax,
    "nll_loss": _launch_nll,
    "kl_divergence": _launch_divergence,
    "binary_cross_entropy": _launch_binary,
    "binary_cross_entropy_with_logits": _launch_binary,
}
