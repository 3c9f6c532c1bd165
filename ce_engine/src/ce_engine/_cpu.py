"""Evaluates rows on a CPU, block by block, so that what is between the input and the results stays in the cache."""

from collections.abc import Callable

from torch import Tensor

from ce_engine._elementwise import BinaryBlocks, BinaryWithLogitsBlocks
from ce_engine._gather import NllBlocks
from ce_engine._rows import blocks
from ce_engine._slab import Kind, RowResults, Rows
from ce_engine._softmax import SoftmaxBlocks

# From a kind to what evaluates a block of it: (input, target, rows, results to write).
BLOCKS: dict[str, Callable[[Kind], Callable[[Tensor, Tensor | None, Rows, RowResults], None]]] = {
    "cross_entropy": SoftmaxBlocks,
    "nll_loss": NllBlocks,
    "binary_cross_entropy": BinaryBlocks,
    "binary_cross_entropy_with_logits": BinaryWithLogitsBlocks,
}


def evaluate(
    kind: Kind,
    input: Tensor,
    target: Tensor | None,  # of the input's shape
    rows: Rows,
    row_count: int,
) -> RowResults:
    results = RowResults.allocate(kind, input.shape, row_count)
    if not input.numel():
        return results
    x = kind.as_rows(input)
    t = None if target is None else kind.as_rows(target)
    views = results.map(lambda numbers: numbers, kind.as_rows)
    evaluate_block = BLOCKS[kind.loss](kind)
    cut = list(blocks(x, kind.compute_dtype.itemsize))
    if len(cut) == 1:  # slices would cost a small batch as much as the loss
        evaluate_block(x, t, rows, views)
        cut = []
    for block in cut:
        part = (block.samples, block.positions)
        evaluate_block(x[part], None if t is None else t[part], rows[block.rows], views[block])
    if results.correct is not None and rows.ignored is not None:
        results.correct.logical_and_(~rows.ignored)
    return results
