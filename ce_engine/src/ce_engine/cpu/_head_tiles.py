"""Cross-entropy of hidden states, tile by tile: logits of a tile, their softmax, and the way back through the head."""

from torch import Tensor

from ce_engine._heads.logits import Logits, tile_rows
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._rows import blocks_of
from ce_engine.cpu._tile_softmax import softmax_of_logits


def evaluate_tiles(
    kind: Kind,
    input: Tensor,  # (H) or (..., H)
    target: Tensor | None,  # (V) or (..., V)
    rows: Rows,
    results: RowResults,
) -> None:
    """Never holds more than one tile of logits."""
    x, target = kind.as_rows(input), None if target is None else kind.as_rows(target)
    out = results.map(lambda numbers: numbers, kind.as_rows)
    for block in blocks_of(tile_rows(present(kind.head)), x):
        part = None if target is None else target[:, block.positions]
        _evaluate(kind, x[0, block.positions], part, rows.part(block.rows), out.part(block))


def _evaluate(
    kind: Kind,
    x: Tensor,  # (r, H)
    target: Tensor | None,  # (1, r, V)
    rows: Rows,
    out: RowResults,
) -> None:
    head = present(kind.head)
    logits = Logits(x, head)
    softmax_of_logits(kind, logits, target, rows.over(head.temperature), out)
    if out.grad is None:
        return
    logits.write_hidden_grad(out.grad[0])
    if rows.ignored is not None:  # their hidden states may be NaN, and 0 times it is not 0
        out.grad[0].masked_fill_(rows.ignored[:, None], 0)
