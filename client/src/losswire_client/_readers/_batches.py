"""Rows of a file as the arguments of a loss, with their places in the file."""

from collections.abc import Iterator
from itertools import count, tee
from math import prod
from typing import NamedTuple, Protocol

import numpy as np

from losswire_client._readers._columns import Array, Column, Shape


class Positions(NamedTuple):
    """The places of a batch's rows in the file. The batch is a selection of positions from one chunk of the file.

    Attributes:
        start: The first row of the chunk in the file.
        indices: The chunk's positions that are rows of the batch; all positions if None.
        inner: The shape of a row of the file in positions; () if each row is one position.
        offsets: The position in the chunk at which each row of the file begins, if rows differ in length.
    """

    start: int
    indices: Array | None = None
    inner: Shape = ()
    offsets: Array | None = None

    def places(self, rows: Array) -> tuple[Array, Array]:
        """The places of some rows of the batch: rows of the file, and positions in these rows in row-major order."""
        positions = rows if self.indices is None else self.indices[rows]
        if self.offsets is None:
            sequences, positions = np.divmod(positions, prod(self.inner))
        else:
            sequences = np.searchsorted(self.offsets, positions, "right") - 1
            positions = positions - self.offsets[sequences]
        return sequences + self.start, positions

    def place(self, row: int) -> tuple[int, ...]:
        """The index of a row of the batch in an array whose first dimension is the file's rows."""
        position = row if self.indices is None else int(self.indices[row])
        if self.offsets is not None:
            sequence = int(np.searchsorted(self.offsets, position, "right")) - 1
            return self.start + sequence, position - int(self.offsets[sequence])
        sequence, position = divmod(position, prod(self.inner))
        return self.start + sequence, *_unravelled(position, self.inner)


class Batch(NamedTuple):
    """The arguments of a loss."""

    input: Array
    target: Array


class PlacedBatch(NamedTuple):
    """Some rows of a dataset, with their places in the file."""

    input: Array
    target: Array
    input_positions: Positions
    target_positions: Positions

    @property
    def arguments(self) -> Batch:
        """The arguments that a loss takes."""
        return Batch(self.input, self.target)

    def place(self, element: int, shape: Shape, *, of_target: bool = False) -> tuple[int, ...]:
        """The place in the file of an element of an array with one or more values for each row of the batch.

        Args:
            element: Number of the element in row-major order.
            shape: Shape of the array, for example of a loss that is not reduced. The rows come first.
            of_target: Whether to return the place of the row's target, which is one position later with ``--shift``.
        """
        row, rest = divmod(element, max(1, prod(shape[1:])))
        positions = self.target_positions if of_target else self.input_positions
        return *positions.place(row), *_unravelled(rest, shape[1:])


class Rows(Protocol):
    """The rows of a file, as a loss takes them.

    Attributes:
        input_shape: Shape of the input. The rows come first, and then the classes, if there are any.
        target_shape: Shape of the targets. The rows come first.
        file_rows: How many rows the file has. Each of them may be several rows here.
        row_bytes: Bytes of a row's input; 0 if there is no row.
        has_class_indices: Whether targets are integers; else they are probabilities, or labels of binary losses.
        masked_count: How many rows a mask has left out of the batches so far.
    """

    input_shape: Shape
    target_shape: Shape
    file_rows: int
    row_bytes: int
    has_class_indices: bool
    masked_count: int

    def batches(self, rows: int) -> Iterator[PlacedBatch]:
        """All rows, in batches of at most so many."""

    def blocks(self, rows: int, start: int) -> Iterator[PlacedBatch]:
        """The rows of the file from one on, a batch for each so many of them, even if it is left without rows."""

    def targets(self, rows: int) -> Iterator[Array]:
        """All targets, in batches of at most so many rows."""


class WholeRows:
    """Rows as they are in the file, with classes as the second dimension."""

    masked_count = 0

    def __init__(self, input: Column, target: Column) -> None:
        self.input_shape, self.target_shape = input.shape, target.shape
        self.file_rows = input.shape[0]
        self.row_bytes = sum(row.nbytes for row in first_row(input))
        self.has_class_indices = all(row.dtype.kind in "iu" for row in first_row(target))
        self._input = input
        self._target = target

    def batches(self, rows: int) -> Iterator[PlacedBatch]:
        return self.blocks(rows, 0)

    def blocks(self, rows: int, start: int) -> Iterator[PlacedBatch]:
        starts = map(Positions, count(start, rows))
        yield from map(PlacedBatch, self._input.chunks(rows, start), self._target.chunks(rows, start), *tee(starts))

    def targets(self, rows: int) -> Iterator[Array]:
        return self._target.chunks(rows)


def told_place(place: tuple[int, ...]) -> str:
    """A place for people to read: ``row 3``, ``row 3, position 5``."""
    row, *position = place
    inner = f", position {position[0] if len(position) == 1 else tuple(position)}" if position else ""
    return f"row {row}{inner}"


def first_row(column: Column) -> list[Array]:
    """The first row, for its dtype and size; empty if there is no row."""
    return [row for row, _ in zip(column.chunks(1), range(1), strict=False)]


def _unravelled(index: int, shape: Shape) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(index, shape)) if shape else ()
