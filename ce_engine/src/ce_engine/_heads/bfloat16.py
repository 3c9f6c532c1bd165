"""Products with a bfloat16 weight, for CPUs that multiply bfloat16 numbers: float32 results as fast as bfloat16 ones.

PyTorch's product of bfloat16 matrices rounds its results to bfloat16, and its float32 one takes five times as long.
"""

import struct

import torch
import torch.nn.functional as F
from torch import Tensor

from ce_engine._libraries import Products, products
from ce_engine._memory import CPU, empty

PANEL = 64  # columns of a result, as in native/bfloat16.cpp
PRODUCT = struct.Struct("@ 3P 5q")  # likewise
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

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes, about those of the weight in float32."""
        return self._logits.nbytes + self._back.nbytes

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
            parts: As for `logits`. Two are enough for a gradient that is rounded to half precision. One is not: the
                numbers of a row of `g` add up to zero, so its product with what rows of the weight share is what
                roundings leave.
        """
        return self._back.product(g, out, parts)


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
        operand = self._operand(x.contiguous().resolve_neg(), parts)
        count, rows, width = operand.shape
        addresses = operand.data_ptr(), self._packed.data_ptr(), out.data_ptr()
        launch = PRODUCT.pack(*addresses, count, rows, width, self._columns, out.stride(0))
        self._library.multiply(launch, torch.get_num_threads())
        return out

    def _operand(
        self,
        x: Tensor,  # (rows, k), contiguous
        parts: int,
    ) -> Tensor:  # (parts, rows, k + k % 2) in bfloat16
        width = self._depth + self._depth % 2
        if x.dtype == torch.bfloat16:
            return (x if width == self._depth else F.pad(x, (0, 1))).unsqueeze(0)
        rows = x.shape[0]
        cut = empty((parts, rows, width), torch.bfloat16, CPU)
        self._library.split(cut.data_ptr(), x.data_ptr(), parts, rows, self._depth, width, torch.get_num_threads())
        return cut


def _packed(
    matrix: Tensor,  # (n, k)
) -> Tensor:  # (panels, k / 2, PANEL, 2), contiguous
    n, k = matrix.shape
    if n % PANEL or k % 2:
        matrix = F.pad(matrix, (0, k % 2, 0, -n % PANEL))
    rows, width = matrix.shape
    return matrix.view(rows // PANEL, PANEL, width // 2, 2).transpose(1, 2).contiguous().resolve_neg()
