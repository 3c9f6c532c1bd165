"""Cross-entropy of hidden states, tile by tile: logits of a tile, their softmax, and the way back through the head."""

from torch import Tensor

from ce_engine._heads.logits import Logits, tile_rows
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._libraries import library
from ce_engine._memory import scratch
from ce_engine._rows import blocks, blocks_of
from ce_engine.cpu._launch import run_alone
from ce_engine.cpu._native import evaluate_natively
from ce_engine.cpu._softmax import SoftmaxKernel


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
    if rows.scale is not None and head.temperature != 1:
        rows = rows._replace(scale=(rows.scale.double() / head.temperature).to(kind.compute_dtype))
    grad_dtype = None if out.grad is None else kind.compute_dtype
    of_logits = kind._replace(loss="cross_entropy", dtype=kind.compute_dtype, head=None, grad_dtype=grad_dtype)
    softcap_inverse = 0.0 if head.softcap is None else head.temperature / head.softcap
    _softmax(of_logits, logits.values[None], target, rows, out, softcap_inverse)
    if out.grad is not None:
        logits.write_hidden_grad(out.grad[0])


def _softmax(
    kind: Kind,  # of the logits
    logits: Tensor,  # (1, r, V), overwritten with their gradient if it is wanted
    target: Tensor | None,  # likewise
    rows: Rows,
    out: RowResults,
    softcap_inverse: float,
) -> None:
    for block in blocks(logits, kind.compute_dtype.itemsize):
        x, part = logits[:, block.positions], None if target is None else target[:, block.positions]
        results = out.part(block)
        if out.grad is not None:
            results = results._replace(grad=scratch.like(x, kind.compute_dtype, "logits_grad"))
        _evaluate_block(kind, x, part, rows.part(block.rows), results)
        if softcap_inverse and results.grad is not None:
            results.grad.mul_(x.mul_(softcap_inverse).square_().neg_().add_(1))
        if results.grad is not None:
            x.copy_(results.grad)


def _evaluate_block(kind: Kind, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults) -> None:
    compiled = library()
    if compiled is not None:
        evaluate_natively(compiled, kind, x, target, rows, out, run_alone)
        return
    SoftmaxKernel(kind, x, target, rows)(out)
    if out.correct is not None and rows.ignored is not None:
        out.correct.logical_and_(~rows.ignored)
