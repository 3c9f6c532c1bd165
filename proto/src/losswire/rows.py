"""How rows lie in the tensors of a batch, and how they are cut into slabs. Both sides of a stream use this module."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from losswire.errors import FieldError


def class_count(shape: tuple[int, ...], *, last: bool = False) -> int:
    """C of an input (C), (N, C) or (N, C, d1, ..., dk); or, with classes last, of (C) or (..., C)."""
    return shape[_axis(shape, last=last)]


def row_shape(shape: tuple[int, ...], *, last: bool = False) -> tuple[int, ...]:
    """The shape of such an input without C, which is the shape of a tensor with one number per row."""
    axis = _axis(shape, last=last)
    return shape[:axis] + shape[axis + 1 :]


def with_width(shape: tuple[int, ...], width: int, *, last: bool = False) -> tuple[int, ...]:
    """The shape of such an input with another number of classes."""
    axis = _axis(shape, last=last)
    return (*shape[:axis], width, *shape[axis + 1 :])


def _axis(shape: tuple[int, ...], *, last: bool) -> int:
    return len(shape) - 1 if last else min(1, len(shape) - 1)


@dataclass(frozen=True)
class SlabRows:
    """Some consecutive rows of a batch: whole samples, or some positions of one sample.

    Attributes:
        first_row: Number of the first row.
        row_count: How many.
        input_shape: The shape of the slab's input; for positions of one sample (1, C, row_count).
        row_shape: The shape of a tensor with one number per row, such as class indices.
        classes_last: Whether classes are the last dimension of the input's shape.
    """

    first_row: int
    row_count: int
    input_shape: tuple[int, ...]
    row_shape: tuple[int, ...]
    classes_last: bool = False

    def wide_shape(self, width: int) -> tuple[int, ...]:
        """The shape of a tensor with so many numbers per row, which lie as those of the input."""
        return with_width(self.input_shape, width, last=self.classes_last)

    @property
    def end_row(self) -> int:
        return self.first_row + self.row_count


@dataclass(frozen=True)
class RowLayout:
    """Rows of C classes each, numbered in row-major order of samples and positions.

    Attributes:
        samples: N for an input (N, C, d1, ..., dk); 1 for an input (C); the number of rows if rows are elements, or
            classes are last.
        classes: C; 1 if rows are elements.
        positions: d1 * ... * dk; 1 for an input (C) or (N, C), and if rows are elements, or classes are last.
        shape: The input's.
        elementwise: Whether rows are single elements.
        classes_last: Whether rows lie along the last dimension of the input.
    """

    samples: int
    classes: int
    positions: int
    shape: tuple[int, ...]
    elementwise: bool
    classes_last: bool = False

    @classmethod
    def of(cls, shape: tuple[int, ...], *, elementwise: bool = False, classes_last: bool = False) -> "RowLayout":
        """The layout of an input of this shape, which has at least one dimension unless rows are elements."""
        if elementwise:
            return cls(math.prod(shape), 1, 1, shape, elementwise)
        if classes_last:
            return cls(math.prod(shape[:-1]), shape[-1], 1, shape, elementwise, classes_last)
        if len(shape) == 1:
            return cls(1, shape[0], 1, shape, elementwise)
        return cls(shape[0], shape[1], math.prod(shape[2:]), shape, elementwise)

    @property
    def row_count(self) -> int:
        return self.samples * self.positions

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a tensor with one number per row."""
        return self.shape if self.elementwise else row_shape(self.shape, last=self.classes_last)

    def wide_shape(self, width: int) -> tuple[int, ...]:
        """The shape of a tensor with so many numbers per row, which lie as those of the input."""
        return with_width(self.shape, width, last=self.classes_last)

    def slabs(self, row_count: int) -> Iterator[SlabRows]:
        """Cuts the batch into slabs of at most ``row_count`` rows."""
        if row_count < self.positions:
            for sample in range(0, self.row_count, self.positions):
                for position in range(0, self.positions, row_count):
                    yield self.slab_rows(sample + position, min(row_count, self.positions - position))
        elif self.row_count:
            step = row_count // self.positions * self.positions
            for first in range(0, self.row_count, step):
                yield self.slab_rows(first, min(step, self.row_count - first))

    def slab_rows(self, first_row: int, row_count: int) -> SlabRows:
        """The slab of these rows.

        Raises:
            FieldError: The rows are not in this batch, or are neither whole samples nor rows of one sample.
        """
        if row_count < 1 or first_row < 0 or first_row + row_count > self.row_count:
            came = f"{row_count} from row {first_row} on"
            raise FieldError("slab.row_count", f"expected rows of a batch that has {self.row_count}, got {came}")
        if self.elementwise:
            return SlabRows(first_row, row_count, (row_count,), (row_count,))
        if len(self.shape) == 1:
            return SlabRows(first_row, row_count, self.shape, (), self.classes_last)
        if self.classes_last:
            return SlabRows(first_row, row_count, (row_count, self.classes), (row_count,), self.classes_last)
        if first_row % self.positions == 0 and row_count % self.positions == 0:
            samples, rest = row_count // self.positions, self.shape[2:]
            return SlabRows(first_row, row_count, (samples, self.classes, *rest), (samples, *rest))
        if first_row // self.positions != (first_row + row_count - 1) // self.positions:
            problem = f"expected whole samples of {self.positions} rows, or rows of one sample"
            raise FieldError("slab.row_count", f"{problem}, got {row_count} from row {first_row} on")
        return SlabRows(first_row, row_count, (1, self.classes, row_count), (1, row_count))
