"""The common form in which all formats are read."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from math import prod
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Column(Protocol):
    """An array whose first dimension is the rows. Only some rows are in memory at a time."""

    @property
    def shape(self) -> Shape: ...

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        """The array from a row on, so many rows at a time, with the rest in the end."""


class Sequences(NamedTuple):
    """Rows of different lengths, one after the other."""

    values: Array  # (positions of all rows, ...)
    lengths: Array  # (rows)


class SequenceColumn(Protocol):
    """Like a column, but rows are sequences, which may differ in length.

    Attributes:
        row_count: How many sequences there are.
        position_count: How many positions they have together. An empty sequence may count as one position.
        item_shape: Shape of the item at a position.
        inner: The shape of a row in positions; () if each row is one position; None if rows differ in shape.
    """

    row_count: int
    position_count: int
    item_shape: Shape
    inner: Shape | None

    def chunks(self, rows: int, start: int = 0) -> Iterator[Sequences]:
        """The sequences from a row on, so many rows at a time, with the rest in the end."""


class ArrayFile(ABC):
    """A file of named arrays.

    Attributes:
        errors: Errors that mean that the file is damaged.
        names: Names of the arrays.
        stored_names: Names that are in the file itself; all names if None.
        is_seekable: Whether rows in the middle can be read without all rows before them.
    """

    errors: tuple[type[Exception], ...]
    names: Collection[str]
    stored_names: Collection[str] | None = None
    is_seekable: bool = True

    @abstractmethod
    def column(self, name: str) -> Column: ...

    def target(self, name: str) -> Column:
        """The column as targets. A format without dtypes has to guess their dtype."""
        return self.column(name)

    def labels(self, name: str) -> Column:
        """The column as names of groups of rows, which may be numbers or text."""
        return self.column(name)

    def classes(self, pattern: str, others: Collection[str | None]) -> str:  # noqa: ARG002 - tables need them
        """The name for all columns of a pattern except `others`. Each of these columns is a class."""
        raise ValueError("--input-columns is for tables: Parquet, Arrow and CSV")

    def has_sequences(self, name: str) -> bool:  # noqa: ARG002 - tables need it
        """Whether the rows are lists of lists, which may differ in length."""
        return False

    def has_lists(self, name: str) -> bool:  # noqa: ARG002 - tables need it
        """Whether the rows are lists of numbers, which may differ in length."""
        return False

    def sequences(self, name: str) -> SequenceColumn:
        """The column's rows as sequences."""
        return EvenSequences(name, self.column(name))

    @abstractmethod
    def close(self) -> None: ...


class EvenSequences:
    """The rows of an array as sequences of one length."""

    inner: Shape | None

    def __init__(self, name: str, column: Column, row_ndim: int = 2, class_axis: int = -1) -> None:
        if len(column.shape) < row_ndim:
            raise ValueError(f"{name} has one number a row, expected a sequence of them")
        self._column = column
        self._class_axis = class_axis if len(column.shape) > row_ndim else -1
        shape = list(column.shape)
        shape.append(shape.pop(self._class_axis))
        self.inner, self.item_shape = tuple(shape[1:row_ndim]), tuple(shape[row_ndim:])
        self.row_count = column.shape[0]
        self.position_count = prod(shape[:row_ndim])

    def chunks(self, rows: int, start: int = 0) -> Iterator[Sequences]:
        for chunk in self._column.chunks(rows, start):
            length = prod(self.inner or ())
            values = np.moveaxis(chunk, self._class_axis, -1).reshape(len(chunk) * length, *self.item_shape)
            yield Sequences(values, np.full(len(chunk), length))


def slices(row_count: int, rows: int, start: int = 0) -> Iterator[slice]:
    """Slices of at most so many rows that together cover all rows from one on."""
    return (slice(first, min(first + rows, row_count)) for first in range(start, row_count, rows))
