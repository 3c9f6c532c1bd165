"""Evaluates rows on a CPU, block by block, so that intermediate values stay in the cache."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from ce_engine._libraries import Library, library
from ce_engine._slab import ELEMENTWISE, Kind, RowResults, Rows
from ce_engine.cpu._elementwise import BinaryKernel, BinaryWithLogitsKernel
from ce_engine.cpu._gather import NllKernel
from ce_engine.cpu._launch import run_alone
from ce_engine.cpu._native_binary import NativeBinaryKernel
from ce_engine.cpu._native_kernel import NativeKernel, Run
from ce_engine.cpu._native_softmax import NativeSoftmaxKernel
from ce_engine.cpu._softmax import SoftmaxKernel


class Kernel(Protocol):
    """Evaluates the rows of one launch; tensors of the input's shape are viewed as rows, (samples, positions, C)."""

    def __call__(self, out: RowResults) -> None: ...


KERNELS: dict[str, Callable[[Kind, Tensor, Tensor | None, Rows], Kernel]] = {  # without compiled code
    "cross_entropy": SoftmaxKernel,
    "nll_loss": NllKernel,
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
) -> RowResults:
    results = RowResults.allocate(kind, input.shape, row_count, grad_into)
    if not input.numel():
        return results
    compiled = library()
    if compiled is not None:
        _native(compiled, kind, input, target, rows, run)(_viewed(results, input, kind))
        return results
    x, t = kind.as_rows(input), None if target is None else kind.as_rows(target)
    KERNELS[kind.loss](kind, x, t, rows)(results.map(lambda numbers: numbers, kind.as_rows))
    if results.correct is not None and rows.ignored is not None:
        results.correct.logical_and_(~rows.ignored)
    return results


def _native(compiled: Library, kind: Kind, input: Tensor, target: Tensor | None, rows: Rows, run: Run) -> NativeKernel:
    kernel = NativeBinaryKernel if kind.loss in ELEMENTWISE else NativeSoftmaxKernel
    if _is_viewed(input, kind):
        return kernel(compiled, kind, input, target, rows, run)
    return kernel(compiled, kind, kind.as_rows(input), None if target is None else kind.as_rows(target), rows, run)


def _viewed(results: RowResults, input: Tensor, kind: Kind) -> RowResults:
    return results if _is_viewed(input, kind) else results.map(lambda numbers: numbers, kind.as_rows)


def _is_viewed(input: Tensor, kind: Kind) -> bool:
    """Whether compiled code takes a tensor of the input's shape as it is: (N, C). A view costs as much as some rows."""
    return input.dim() == 2 and kind.loss not in ELEMENTWISE
