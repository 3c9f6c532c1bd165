"""Losses of hidden states on a GPU, tile by tile: cross-entropy, and divergences of either model or of both.

All tiles have the same number of rows: libraries for products pick their ways by the shape, and a row's bits with them.
"""

from operator import itemgetter

import torch
from torch import Tensor

from ce_engine._heads.head import Head
from ce_engine._heads.logits import finish
from ce_engine._heads.norms import normed
from ce_engine._kernel_rows import Kind, RowResults, Rows, present
from ce_engine.gpu._heads import on_device, product, product_back
from ce_engine.gpu._kernel_calls import launch
from ce_engine.gpu._operands import Operands


def evaluate_tiles(
    kind: Kind,
    x: Tensor,  # (R, H), or (R, V) without a head; contiguous
    target: Tensor | None,  # (R, V), or (R, H) with a head of its own; contiguous
    numbers: dict[str, Tensor],  # columns, and what all rows share
    out: RowResults,  # viewed as (R), (R, H) and (R, V)
) -> None:
    """Holds a tile of logits of each model, and one of their gradient unless that takes their place.

    Outputs of logits that a divergence divides by a temperature take one tile more.
    """
    step = kind.tile_rows
    for start in range(0, x.shape[0], step):
        rows = slice(start, min(start + step, x.shape[0]))
        own = {name: numbers[name][rows] for name in Rows._fields if name in numbers and _is_column(numbers[name], x)}
        part = None if target is None else target[rows]
        at = itemgetter(rows)
        _evaluate(kind, x[rows], part, numbers | own, out.map(at, at))


def _is_column(numbers: Tensor, x: Tensor) -> bool:
    """And not one number for all rows."""
    return numbers.shape[0] == x.shape[0]


def _evaluate(
    kind: Kind,
    x: Tensor,  # (r, H) or (r, V)
    target: Tensor | None,  # (r, V) or (r, H)
    numbers: dict[str, Tensor],
    out: RowResults,
) -> None:
    if kind.divergence is not None and kind.divergence.target_head is not None:
        target = Logits(present(target), kind.divergence.target_head, kind.tile_rows).values
    if kind.head is None:
        launch(kind.of_logits(), Operands.of(x, target, numbers), out)
        return
    logits = Logits(x, kind.head, kind.tile_rows)
    grad = None if out.grad is None else logits.grad_memory(in_place=kind.divergence is not None)
    launch(kind.of_logits(), Operands.of(logits.values, target, numbers), out._replace(grad=grad))
    if out.grad is None:
        return
    logits.write_hidden_grad(out.grad)
    if "ignored" in numbers:  # their hidden states may be NaN, and 0 times it is not 0
        out.grad.masked_fill_(numbers["ignored"][:, None], 0)


class Logits:
    """Logits of some rows.

    Attributes:
        values: (r, V).
    """

    def __init__(
        self,
        x: Tensor,  # (r, H)
        head: Head,
        tile_rows: int,
    ) -> None:
        self._head, self._rows = on_device(head, x.device), x.shape[0]
        self._hidden = normed(_padded(x, tile_rows, head.compute_dtype), self._head)
        self._tile = self._grad = product(self._hidden.values, self._head)
        finish(self._tile, self._head)
        self.values = self._tile[: self._rows]

    def grad_memory(self, *, in_place: bool) -> Tensor:  # (r, V)
        """Where their gradient is to be written: over them if it may be, unless a softcap's derivative needs them."""
        if not in_place or self._head.softcap is not None:
            self._grad = torch.zeros_like(self._tile)
        return self._grad[: self._rows]

    def write_hidden_grad(
        self,
        out: Tensor,  # (r, H)
    ) -> None:
        """Writes the gradient of the hidden states, after that of the logits was written."""
        head, grad = self._head, self._grad
        if head.softcap is not None:
            grad.mul_(self._tile.mul_(head.temperature / head.softcap).square_().neg_().add_(1))
        out.copy_(self._hidden.backward(product_back(grad, head))[: self._rows])


def _padded(x: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
    memory = torch.zeros(rows, x.shape[1], dtype=dtype, device=x.device)
    memory[: x.shape[0]] = x
    return memory
