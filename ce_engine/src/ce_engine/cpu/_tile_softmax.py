"""The softmax of a tile of logits, whose gradient takes their place, so that there is never more than one tile."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from ce_engine._heads.logits import Logits
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine._libraries import library
from ce_engine._memory import scratch
from ce_engine._rows import Block, blocks
from ce_engine.cpu._native_softmax import softmax_launch
from ce_engine.cpu._places import hide_ignored
from ce_engine.cpu._softmax import SoftmaxKernel


def softmax_of_logits(
    kind: Kind,
    logits: Logits,
    target: Tensor | None,  # (1, r, V)
    rows: Rows,
    out: RowResults,
) -> None:
    """Writes all results but the gradient, and that over the logits, before softcap and temperature."""
    head, x = present(kind.head), logits.values[None]
    softcap_inverse = 0.0 if head.softcap is None else head.temperature / head.softcap
    kind = kind.of_logits()
    for block in _blocks(kind, x):
        at = block.samples, block.positions
        part = None if target is None else target[at]
        evaluate = _by_operators if library() is None else _natively
        evaluate(kind, x[at], part, rows.part(block.rows), out.part(block), softcap_inverse)


def _blocks(kind: Kind, x: Tensor) -> Iterator[Block]:
    """All rows at once for compiled code, unless targets are converted for it."""
    if library() is not None and kind.target_dtype in (None, kind.dtype):
        yield Block(slice(None), slice(None), slice(None))
    else:
        yield from blocks(x, kind.dtype.itemsize)


def _natively(
    kind: Kind, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults, softcap_inverse: float
) -> None:
    launch = partial(softmax_launch, present(library()), kind, x, _known(target, kind), rows)
    grad = None if out.grad is None else x
    if out.grad is not None and (out.probabilities is not None or out.log_probabilities is not None):
        launch(out._replace(grad=None)).take()  # first, since compiled code takes one layout for all wide results
        out = RowResults(out.losses)
    launch(out._replace(grad=grad), softcap_inverse).take()


def _known(target: Tensor | None, kind: Kind) -> Tensor | None:
    """A target as compiled code can read it."""
    if target is None or (target.dtype is kind.dtype and not target.is_neg()):
        return target
    return scratch.like(target, kind.dtype, "target").copy_(target)


def _by_operators(
    kind: Kind, x: Tensor, target: Tensor | None, rows: Rows, out: RowResults, softcap_inverse: float
) -> None:
    grad = None if out.grad is None else scratch.like(x, kind.dtype, "logits_grad")
    SoftmaxKernel(kind, x, target, rows)(out._replace(grad=grad))
    hide_ignored(out, rows.ignored)
    if grad is not None and softcap_inverse:
        grad.mul_(x.mul_(softcap_inverse).square_().neg_().add_(1))
    if grad is not None:
        x.copy_(grad)
