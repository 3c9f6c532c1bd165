"""Cross-entropy of hidden states on a GPU, tile by tile.

All tiles have the same number of rows: libraries for products pick their ways by the shape, and a row's bits with them.
"""

from operator import itemgetter

import torch
from torch import Tensor

from ce_engine._heads.logits import finish, tile_rows
from ce_engine._heads.norms import normed
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine.gpu._heads import DeviceHead, on_device, product, product_back
from ce_engine.gpu._kernel_calls import launch
from ce_engine.gpu._operands import Operands


def evaluate_tiles(
    kind: Kind,
    x: Tensor,  # (R, H)
    target: Tensor | None,  # (R, V), contiguous
    numbers: dict[str, Tensor],  # columns, and what all rows share
    out: RowResults,  # viewed as (R), (R, H) and (R, V)
) -> None:
    """Holds a tile of logits and one of their gradient."""
    head, step = on_device(present(kind.head), x.device), tile_rows(present(kind.head))
    for start in range(0, x.shape[0], step):
        rows = slice(start, min(start + step, x.shape[0]))
        own = {name: numbers[name][rows] for name in Rows._fields if name in numbers and _is_column(numbers[name], x)}
        part = None if target is None else target[rows]
        at = itemgetter(rows)
        _evaluate(kind, head, _padded(x[rows], step, kind), part, numbers | own, out.map(at, at))


def _is_column(numbers: Tensor, x: Tensor) -> bool:
    """And not one number for all rows."""
    return numbers.shape[0] == x.shape[0]


def _padded(x: Tensor, step: int, kind: Kind) -> Tensor:
    memory = torch.zeros(step, x.shape[1], dtype=kind.compute_dtype, device=x.device)
    memory[: x.shape[0]] = x
    return memory


def _evaluate(
    kind: Kind,
    head: DeviceHead,
    x: Tensor,  # (T, H)
    target: Tensor | None,  # (r, V)
    numbers: dict[str, Tensor],
    out: RowResults,
) -> None:
    count, hidden = out.losses.shape[0], normed(x, head)
    logits = product(hidden.values, head)
    finish(logits, head)
    grad = None if out.grad is None else torch.zeros_like(logits)
    results = out if grad is None else out._replace(grad=grad[:count])
    launch(kind.of_logits(), Operands.of(logits[:count], target, numbers), results)
    if grad is None:
        return
    if head.softcap is not None:
        grad.mul_(logits.mul_(head.temperature / head.softcap).square_().neg_().add_(1))
    own = present(out.grad).copy_(hidden.backward(product_back(grad, head))[:count])
    if "ignored" in numbers:  # their hidden states may be NaN, and 0 times it is not 0
        own.masked_fill_(numbers["ignored"][:, None], 0)
