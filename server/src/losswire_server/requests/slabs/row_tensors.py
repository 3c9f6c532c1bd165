"""Tensors that have numbers for each row of a batch, and give them out slab by slab."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from losswire.errors import FieldError
from losswire.rows import RowLayout, SlabRows
from losswire_server.requests.decoding import from_bytes

PART_BYTES = 2048  # that a part takes in addition to its elements, for objects of Python and torch
LEAST_SHARE = 4  # a payload of at least a quarter of its message keeps the message; a smaller one is copied


class RowTensor(Protocol):
    """Gives out its numbers for rows, slab by slab.

    Attributes:
        held_bytes: Memory that its elements take.
    """

    @property
    def held_bytes(self) -> int: ...

    def take(self, slab: SlabRows) -> Tensor:
        """Its numbers for the rows of a slab, which must follow the rows taken before."""
        ...


class Narrow:
    """A complete tensor with one number a row, or one that broadcasts to such a tensor."""

    def __init__(self, tensor: Tensor, layout: RowLayout) -> None:
        self.tensor = tensor
        self.held_bytes = tensor.untyped_storage().nbytes()
        self._shape = layout.row_shape

    def take(self, slab: SlabRows) -> Tensor:
        if self.tensor.numel() == 1:
            return self.tensor.reshape(()).expand(slab.row_shape)
        return flat_part(self.tensor.expand(self._shape), slab.first_row, slab.row_count).view(slab.row_shape)


class Wide:
    """A complete tensor with several numbers a row, which lie as those of the input."""

    def __init__(self, tensor: Tensor, layout: RowLayout, width: int) -> None:
        self.held_bytes = tensor.nbytes
        self._width = width
        self._rows = tensor.reshape(layout.samples, width, layout.positions)

    def take(self, slab: SlabRows) -> Tensor:
        positions = self._rows.shape[2]
        sample, position = divmod(slab.first_row, positions)
        samples, count = max(1, slab.row_count // positions), min(slab.row_count, positions)
        part = self._rows[sample : sample + samples, :, position : position + count]
        return part.reshape(slab.wide_shape(self._width))


class ClassWeights:
    """The weights of a binary loss's elements, which depend on their class alone."""

    def __init__(self, target: RowTensor, weights: Tensor) -> None:  # weights: (2)
        self.held_bytes = 0
        self._target = target
        self._weights = weights

    def take(self, slab: SlabRows) -> Tensor:
        return self._weights[(self._target.take(slab) == 1).to(torch.int64)]


class Coming:
    """A tensor whose elements come in slabs, with the input of their rows or ahead of it.

    Args:
        name: Of its field in a slab.
        dtype: Of its elements.
        layout: How rows lie in the input.
        width: Its numbers a row, which lie as those of the input; None for one number a row.

    Attributes:
        field: Path of its field in a slab.
    """

    def __init__(self, name: str, dtype: torch.dtype, layout: RowLayout, width: int | None) -> None:
        self.field = f"slab.{name}"
        self._element_bytes = 0
        self._dtype = dtype
        self._layout = layout
        self._width = width
        self._parts: deque[_Part] = deque()
        self._next_row = 0

    @property
    def held_bytes(self) -> int:
        """Memory of the elements that came and were not taken yet."""
        return self._element_bytes + PART_BYTES * len(self._parts)

    @property
    def complete(self) -> bool:
        return self._next_row == self._layout.row_count

    def add(self, payload: memoryview, slab: SlabRows) -> None:
        """Takes in the elements of some rows.

        Raises:
            FieldError: The rows are not the next ones, or the number of elements is wrong.
        """
        if slab.first_row != self._next_row:
            came = f"from row {slab.first_row} on"
            raise FieldError(self.field, f"expected elements from row {self._next_row} on, got some {came}")
        shape = slab.row_shape if self._width is None else slab.wide_shape(self._width)
        self._parts.append(_Part(slab, from_bytes(_by_itself(payload), self._dtype, shape, self.field)))
        self._next_row = slab.end_row
        self._element_bytes += len(payload)

    def take(self, slab: SlabRows) -> Tensor:
        """Its numbers for the rows of a slab.

        Raises:
            FieldError: They have not come yet.
        """
        if self._next_row < slab.end_row:
            came = f"rows up to {self._next_row}"
            raise FieldError(self.field, f"expected the elements of all rows up to {slab.end_row} by now, got {came}")
        if self._parts[0].slab == slab:
            part = self._parts.popleft().tensor
        else:
            part = self._from_rows(torch.cat(list(self._rows_until(slab.end_row))), slab)
        self._element_bytes -= part.nbytes
        return part

    def take_all(self) -> Tensor:
        """All of a tensor with one number a row, in the shape of rows."""
        whole, first = torch.empty(self._next_row, dtype=self._dtype), 0
        while self._parts:  # each is freed before the next is copied, so that elements are never all here twice
            part = self._parts.popleft().tensor.reshape(-1)
            whole[first : first + len(part)] = part
            first += len(part)
        return whole.view(self._layout.row_shape)

    def _rows_until(self, end: int) -> Iterator[Tensor]:
        """Takes out rows that came in other slabs than the one that needs them."""
        while self._parts and self._parts[0].slab.first_row < end:
            part = self._parts.popleft()
            first, last, rows = part.slab.first_row, part.slab.end_row, self._rows(part)
            yield rows[: end - first]
            if end < last:
                self._parts.appendleft(_Part(SlabRows(end, last - end, (), ()), rows[end - first :], as_rows=True))

    def _rows(self, part: "_Part") -> Tensor:  # (rows), or (rows, width)
        if part.as_rows:
            return part.tensor
        if self._width is None:
            return part.tensor.reshape(-1)
        return _classes_last(part.tensor).reshape(part.slab.row_count, self._width)

    def _from_rows(self, rows: Tensor, slab: SlabRows) -> Tensor:
        if self._width is None:
            return rows.view(slab.row_shape)
        if len(slab.input_shape) < 3:
            return rows.view(slab.wide_shape(self._width))
        return rows.view(*slab.row_shape, self._width).movedim(-1, 1).contiguous()


class _Part(NamedTuple):
    slab: SlabRows
    tensor: Tensor
    as_rows: bool = False


def _by_itself(payload: memoryview) -> memoryview:
    """A payload that may be held for long. It is copied if its message is mostly something else, as padding."""
    whole = payload.obj
    small = isinstance(whole, bytes) and LEAST_SHARE * len(payload) < len(whole)
    return memoryview(bytes(payload)) if small else payload


def _classes_last(tensor: Tensor) -> Tensor:  # (C), (n, C) or (n, C, d1, ..., dk)
    return tensor.movedim(1, -1) if tensor.dim() > 1 else tensor


def flat_part(tensor: Tensor, first: int, count: int) -> Tensor:
    """Some consecutive elements in row-major order, of a tensor that may be expanded to more than fits memory."""
    if tensor.is_contiguous():
        return tensor.view(-1)[first : first + count]
    index = torch.arange(first, first + count)
    offset = torch.full_like(index, int(tensor.storage_offset()))
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        offset += index % size * stride
        index //= size
    return tensor.as_strided((int(offset.max()) + 1,), (1,), 0)[offset]
