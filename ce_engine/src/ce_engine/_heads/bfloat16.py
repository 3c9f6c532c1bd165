"""Products with a bfloat16 weight, for CPUs that multiply bfloat16 numbers: float32 results as fast as bfloat16 ones.

PyTorch's product of bfloat16 matrices rounds its results to bfloat16, and its float32 one takes five times as long.
"""

import struct
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ce_engine._libraries import Products, products
from ce_engine._memory import CPU, empty

PANEL = 64  # columns of a result, as in native/products/bfloat16.cpp, as all that follows
TILE, DEPTH = 6, 512
PRODUCT, SPLIT = struct.Struct("@ 7P 5q"), struct.Struct("@ 5P 3q")
ALL_PARTS = 3  # bfloat16 numbers that have all bits of a float32 one


def is_available() -> bool:
    """Whether this CPU and the compiled code have the instructions."""
    return products() is not None


class PackedWeight:
    """A bfloat16 weight, twice: as each of the two products reads it.

    Rows are computed in float32 in an order that depends on nothing: a row has the same bits in any company, at any
    position, with any number of threads. Subnormal numbers count as zero.

    Args:
        weight: (V, H) in bfloat16, on a CPU for which `is_available`. It is copied.
    """

    def __init__(self, weight: Tensor) -> None:
        library = products()
        if library is None:
            msg = "this CPU has no instructions for bfloat16, or they were not compiled for"
            raise RuntimeError(msg)
        self._logits, self._back = _Matrix(library, weight), _Matrix(library, weight.t())
        self._mean = F.pad(weight.mean(0, dtype=torch.float32), (0, -weight.shape[1] % PANEL))

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes, about those of the weight in float32."""
        return self._logits.nbytes + self._back.nbytes + self._mean.nbytes

    def unpacked(self) -> Tensor:
        """The weight, (V, H), in new memory."""
        return self._logits.unpacked()

    def logits(self, x: Tensor, out: Tensor, parts: int = ALL_PARTS) -> Tensor:
        """``x @ weight.t()``.

        Args:
            x: (rows, H) in bfloat16 or float32.
            out: (rows, V) in float32, whose rows are contiguous. It is returned.
            parts: How many bfloat16 numbers stand for one of a float32 `x`: three have all its bits, two are off by at
                most 2^-16 of it and one by 2^-8. The time goes with them; a bfloat16 `x` takes that of one.
        """
        return self._logits.product(x, out, parts)

    def back(self, g: Tensor, out: Tensor, parts: int = ALL_PARTS) -> Tensor:
        """``g @ weight``: the gradient of what made the logits.

        Args:
            g: (rows, V) in float32 or bfloat16, the gradient of the logits.
            out: (rows, H) in float32, whose rows are contiguous. It is returned.
            parts: As for `logits`.
        """
        return self._back.product(g, out, parts)

    def back_rounded(self, g: Tensor, out: Tensor) -> Tensor:
        """As `back`, for a gradient that is rounded to bfloat16, in little more than the time of one part.

        The numbers of a row of `g` add up to zero, so its product with what rows of the weight share would be what
        roundings leave, if all were rounded to the nearest number of one part. So large ones have two parts: no
        rounding is more than 2^-13 of the row's largest number. Small ones are rounded up or down by a pattern, so that
        roundings of many cancel. What they leave counts in the mean: it is added up, and multiplied by the mean of the
        weight's rows.
        """
        return self._back.product_of_large(g, out, self._mean)


class _Operand(NamedTuple):
    """Rows as products read them.

    Attributes:
        parts: (parts, rows, k + k % 2) in bfloat16.
        pairs: (tiles, k / 2); None if the last part is like others.
        counts: (tiles, depths), of these pairs; likewise, as the next two.
        rest: (rows), what parts leave of each row.
        mean: (n, up to whole panels), of what such a rest is multiplied by.
    """

    parts: Tensor
    pairs: Tensor | None = None
    counts: Tensor | None = None
    rest: Tensor | None = None
    mean: Tensor | None = None


class _Matrix:
    """What rows are multiplied by: one row of it for each column of the result.

    Args:
        matrix: (n, k).
    """

    def __init__(self, library: Products, matrix: Tensor) -> None:
        self._library = library
        self._columns, self._depth = matrix.shape
        self._packed = _packed(matrix)

    @property
    def nbytes(self) -> int:
        return self._packed.nbytes

    def unpacked(self) -> Tensor:
        rows = self._packed.transpose(1, 2).reshape(-1, 2 * self._packed.shape[1])
        return rows[: self._columns, : self._depth].contiguous()

    def product(self, x: Tensor, out: Tensor, parts: int) -> Tensor:
        x = x.contiguous().resolve_neg()
        if x.dtype == torch.bfloat16:
            whole = x if self._width == self._depth else F.pad(x, (0, 1))
            return self._product(_Operand(whole.unsqueeze(0)), out)
        cut = empty((parts, x.shape[0], self._width), torch.bfloat16, CPU)
        sizes = parts, x.shape[0], self._depth, self._width
        self._library.split(cut.data_ptr(), x.data_ptr(), *sizes, torch.get_num_threads())
        return self._product(_Operand(cut), out)

    def product_of_large(
        self,
        x: Tensor,  # (rows, k) in float32
        out: Tensor,
        mean: Tensor,  # (n, up to whole panels)
    ) -> Tensor:
        x, rows, tiles = x.contiguous().resolve_neg(), x.shape[0], -(-x.shape[0] // TILE)
        operand = _Operand(
            empty((2, rows, self._width), torch.bfloat16, CPU),
            empty((tiles, self._width // 2), torch.uint16, CPU),
            empty((tiles, -(-self._width // DEPTH)), torch.int64, CPU),
            empty((rows,), torch.float32, CPU),
            mean,
        )
        split = SPLIT.pack(*_addresses(*operand[:-1], x), rows, self._depth, self._width)
        self._library.split_large(split, torch.get_num_threads())
        return self._product(operand, out)

    @property
    def _width(self) -> int:
        return self._depth + self._depth % 2

    def _product(self, operand: _Operand, out: Tensor) -> Tensor:
        parts, *listed = operand
        addresses = _addresses(parts, self._packed, out, *listed)
        launch = PRODUCT.pack(*addresses, *parts.shape, self._columns, out.stride(0))
        self._library.multiply(launch, torch.get_num_threads())
        return out


def _addresses(*tensors: Tensor | None) -> list[int]:
    return [0 if x is None else x.data_ptr() for x in tensors]


def _packed(
    matrix: Tensor,  # (n, k)
) -> Tensor:  # (panels, k / 2, PANEL, 2), contiguous
    n, k = matrix.shape
    if n % PANEL or k % 2:
        matrix = F.pad(matrix, (0, k % 2, 0, -n % PANEL))
    rows, width = matrix.shape
    return matrix.view(rows // PANEL, PANEL, width // 2, 2).transpose(1, 2).contiguous().resolve_neg()
