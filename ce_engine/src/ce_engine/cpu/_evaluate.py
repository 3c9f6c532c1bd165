"""Evaluates rows on a CPU, block by block, so that intermediate values stay in the cache."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from ce_engine._kernel_rows import ELEMENTWISE, Kind, RowResults, Rows, present
from ce_engine._libraries import library
from ce_engine.cpu._divergences.operators import DivergenceKernel
from ce_engine.cpu._divergences.tiles import evaluate_divergence_tiles
from ce_engine.cpu._elementwise import BinaryKernel, BinaryWithLogitsKernel
from ce_engine.cpu._gather import NllKernel
from ce_engine.cpu._head_tiles import evaluate_tiles
from ce_engine.cpu._launch import run_alone
from ce_engine.cpu._native import Run, evaluate_natively
from ce_engine.cpu._places import hide_ignored
from ce_engine.cpu._softmax import SoftmaxKernel


class Kernel(Protocol):
    """Evaluates the rows of one launch; tensors of the input's shape are viewed as rows, (samples, positions, C)."""

    def __call__(self, out: RowResults) -> None: ...


KERNELS: dict[str, Callable[[Kind, Tensor, Tensor | None, Rows], Kernel]] = {  # without compiled code
    "cross_entropy": SoftmaxKernel,
    "nll_loss": NllKernel,
    "kl_divergence": DivergenceKernel,
    "binary_cross_entropy": BinaryKernel,
    "binary_cross_entropy_with_logits": BinaryWithLogitsKernel,
}


def evaluate(
    kind: Kind,
    input: Tensor,
    target: Tensor | None,  # of the input's shape
    rows: Rows,
    row_count: int,
    grad_into: Tensor | None = None,
    run: Run = run_alone,
    results: RowResults | None = None,
) -> RowResults:
    if results is None:
        results = RowResults.allocate(kind, input.shape, row_count, grad_into)
    if not input.numel():
        return results
    if kind.divergence is not None and kind.heads:
        evaluate_divergence_tiles(kind, input, present(target), rows, results)
        return results
    if kind.loss == "linear_cross_entropy":
        evaluate_tiles(kind, input, target, rows, results)
        return results
    compiled = library()
    x, t, out = _as_rows(kind, input, target, results, views_all=compiled is None)
    if compiled is not None:
        evaluate_natively(compiled, kind, x, t, rows, out, run)
        return results
    KERNELS[kind.loss](kind, x, t, rows)(out)
    hide_ignored(results, rows.ignored)
    return results


def _as_rows(
    kind: Kind, input: Tensor, target: Tensor | None, results: RowResults, *, views_all: bool
) -> tuple[Tensor, Tensor | None, RowResults]:
    """Views tensors of the input's shape as rows. Compiled code takes (N, C) as it is: views cost as much as rows."""
    if input.dim() == 2 and kind.loss not in ELEMENTWISE and not views_all:
        return input, target, results
    view = kind.as_rows
    return view(input), None if target is None else view(target), results.map(lambda numbers: numbers, view)
