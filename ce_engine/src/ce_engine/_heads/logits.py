"""The logits of a tile of hidden states, and the way back from their gradient."""

from typing import Protocol

import torch
from torch import Tensor

from ce_engine._heads.head import Head
from ce_engine._heads.norms import normed
from ce_engine._heads.padding import padded_columns
from ce_engine._heads.products import product, product_back, product_rows

TILE_BYTES = 64 * 2**20  # of logits: few large products take less time than many small ones
LEAST_ROWS, MOST_ROWS = 16, 256
MOST_PARTS = 512  # of a slab: to cut off a part takes some 50 us, whatever its rows
ALIGNMENT = 64  # bytes: libraries for products take other paths where operands lie elsewhere


def tile_rows(head: Head) -> int:
    """Rows of a tile: a power of two, which depends on the head alone."""
    fitting = TILE_BYTES // (padded_columns(head.class_count) * head.compute_dtype.itemsize)
    return min(max(1 << max(0, fitting.bit_length() - 1), LEAST_ROWS), MOST_ROWS)


def part_rows(row_count: int, tile: int) -> int:
    """Rows of a part of a slab: a tile, or of very many rows as many whole tiles as make few parts."""
    return tile * -(-row_count // (tile * MOST_PARTS))


class Finishing(Protocol):
    """What comes after a head's product."""

    @property
    def bias(self) -> Tensor | None: ...
    @property
    def softcap(self) -> float | None: ...
    @property
    def temperature(self) -> float: ...


class Logits:
    """Logits of some rows.

    Attributes:
        values: (r, V), which may be overwritten with the gradient of the loss with respect to what softcap and
            temperature are applied to.
    """

    def __init__(
        self,
        x: Tensor,  # (r, H)
        head: Head,
    ) -> None:
        self._head, self._rows = head, x.shape[0]
        self._hidden = normed(_operand(x, head), head)
        self._tile = product(self._hidden.values, head, x.dtype)
        finish(self._tile, head)
        self.values = self._tile[: self._rows, : head.class_count]

    def write_hidden_grad(
        self,
        out: Tensor,  # (r, H)
    ) -> None:
        """Writes the gradient of the hidden states, after that of the logits was written over `values`."""
        self._tile[:, self._head.class_count :] = 0
        into = out if out.dtype is self._head.compute_dtype and _fits(out, self._head) else None
        grad = self._hidden.backward(product_back(self._tile, self._head, out.dtype, into))
        if into is None:
            out.copy_(grad[: self._rows, : self._head.width])


def _operand(x: Tensor, head: Head) -> Tensor:
    """Hidden states as the norm and the product take them: the memory itself where it is like that."""
    is_read = x.dtype is head.compute_dtype or (head.packed is not None and x.dtype is torch.bfloat16)
    return x if head.norm is None and is_read and _fits(x, head) else _padded_rows_of(x, head)


def _fits(x: Tensor, head: Head) -> bool:
    """Whether products can read it, or write it."""
    rows, width = x.shape
    is_whole = rows == product_rows(rows, head) and width == padded_columns(width)
    return is_whole and x.is_contiguous() and not x.is_neg() and x.data_ptr() % ALIGNMENT == 0


def _padded_rows_of(x: Tensor, head: Head) -> Tensor:
    rows, width = x.shape
    memory = torch.empty(product_rows(rows, head), padded_columns(width), dtype=head.compute_dtype, device="cpu")
    memory[rows:] = 0
    memory[:rows, width:] = 0
    memory[:rows, :width].copy_(x)
    return memory


def finish(
    y: Tensor,  # (r, V) or (r', V'), overwritten
    head: Finishing,
) -> None:
    """Adds the bias, and applies softcap and temperature."""
    if head.bias is not None:
        y.add_(head.bias)
    if head.softcap is not None:
        y.div_(head.softcap).tanh_().mul_(head.softcap / head.temperature)
    elif head.temperature != 1:
        y.div_(head.temperature)
