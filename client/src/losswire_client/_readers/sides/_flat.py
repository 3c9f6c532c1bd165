"""Arrays as rows of one width: positions of sequences follow each other, whatever rows the file has."""

from collections.abc import Iterable, Iterator
from math import prod
from typing import Protocol

import numpy as np

from losswire_client._readers._columns import Array, SequenceColumn, Sequences


class Stream(Protocol):
    """Rows that are read from one on.

    Attributes:
        row_count: How many there are; None if it is known only when all are read.
    """

    row_count: int | None

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        """The rows from one on, so many at a time, with the rest in the end."""


class Flat:
    """The positions of sequences as rows.

    Attributes:
        inner: The shape of a sequence, as of `SequenceColumn`.
    """

    def __init__(self, column: SequenceColumn) -> None:
        self._column = column
        self.inner = column.inner
        self.row_count = column.position_count if column.inner is not None else None

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        size = prod(self._column.inner) if self._column.inner is not None else 0
        first = start // size if size else 0  # the sequence with the first row; sequences that differ are all read
        length = max(1, self._column.position_count // max(1, self._column.row_count))
        sequences = self._column.chunks(max(1, rows // length), first)
        return cut((each.values for each in sequences), rows, start - first * size)


class Padded:
    """Lists of numbers as rows, padded at their ends to the longest of a chunk."""

    def __init__(self, column: SequenceColumn, padding: float) -> None:
        self._column = column
        self._padding = padding
        self.row_count: int | None = column.row_count

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        return (self._padded(chunk) for chunk in self._column.chunks(rows, start))

    def _padded(self, chunk: Sequences) -> Array:
        there = np.arange(chunk.lengths.max(initial=0)) < chunk.lengths[:, None]
        padded = np.full(there.shape, self._padding, chunk.values.dtype)
        padded[there] = chunk.values
        return padded


def cut(parts: Iterable[Array], rows: int, skipped: int = 0) -> Iterator[Array]:
    """The rows of arrays that follow each other, without the first ones, cut into arrays of so many rows."""
    waiting: list[Array] = []
    missing = rows
    for part in parts:
        first, skipped = min(skipped, len(part)), max(0, skipped - len(part))
        while first < len(part):
            waiting.append(part[first : first + missing])
            first += len(waiting[-1])
            missing -= len(waiting[-1])
            if not missing:
                yield _joined(waiting)
                waiting, missing = [], rows
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[Array]) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
