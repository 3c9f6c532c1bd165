"""Flattens files whose rows have several positions, as sequences and images do: each position becomes a row."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from math import prod
from typing import Any, NamedTuple

import numpy as np

from losswire_client._readers._batches import PlacedBatch, Positions, told_place
from losswire_client._readers._columns import Array, SequenceColumn, Sequences, Shape, slices


class Parts(NamedTuple):
    """The arrays of a file with an item for each position, and their names in the file."""

    input: SequenceColumn
    target: SequenceColumn
    mask: SequenceColumn | None
    names: Sequence[str]  # of these three columns


class FlatRows:
    """Positions as rows, without positions that a mask leaves out. With a shift, a row has the next position's target.

    A file whose rows are single positions is one sequence.
    """

    def __init__(self, parts: Parts, shift: bool) -> None:
        first, first_target = (next(column.chunks(1), None) for column in (parts.input, parts.target))
        self.input_shape: Shape = (parts.input.position_count, *parts.input.item_shape)
        self.target_shape: Shape = (parts.input.position_count, *parts.target.item_shape)
        self.file_rows = parts.input.row_count
        self.row_bytes = prod(parts.input.item_shape) * first.values.itemsize if first else 0
        self.has_class_indices = first_target is None or first_target.values.dtype.kind in "iu"
        self.masked_count = 0
        self._parts = parts
        self._inner = parts.input.inner
        self._shift = int(shift and self._inner != ())
        self._ahead = int(shift and self._inner == ())

    def batches(self, rows: int) -> Iterator[PlacedBatch]:
        self.masked_count = 0
        for chunk, target, places, indices in self._kept_chunks(self._rows_of(rows), 0):
            for part in slices(len(indices), rows):
                yield self._batch(chunk, target, places, indices[part])

    def blocks(self, rows: int, start: int) -> Iterator[PlacedBatch]:
        self.masked_count = 0
        for kept in self._kept_chunks(rows, start):
            yield self._batch(*kept)

    def targets(self, rows: int) -> Iterator[Array]:
        start = 0
        for _, target, mask in self._chunks(self._rows_of(rows), None):
            yield _take(target.values, self._kept(start, target, mask)[1])
            start += len(target.lengths)

    def _rows_of(self, positions: int) -> int:
        """How many rows of the file have about so many positions."""
        return max(1, positions * self._parts.input.row_count // max(1, self._parts.input.position_count))

    def _kept_chunks(self, rows: int, start: int) -> Iterator[tuple[Sequences, Sequences, Positions, Array]]:
        """So many rows of the file at a time, with the places of their positions, and the targets that count."""
        for chunk, target, mask in self._chunks(rows, self._parts.input, start):
            self._check_lengths(start, chunk.lengths, target.lengths)
            places, indices, masked = self._kept(start, target, mask)
            self.masked_count += masked
            yield chunk, target, places, indices
            start += len(chunk.lengths)

    def _batch(self, chunk: Sequences, target: Sequences, places: Positions, indices: Array) -> PlacedBatch:
        there = indices - self._shift
        return PlacedBatch(
            _take(chunk.values, there),
            _take(target.values, indices),
            places._replace(indices=there),
            places._replace(start=places.start + self._ahead, indices=indices),
        )

    def _chunks(
        self, rows: int, input: SequenceColumn | None, start: int = 0
    ) -> Iterator[tuple[Any, Sequences, Sequences | None]]:
        chunks: list[Iterator[Any]] = [repeat(None) if input is None else input.chunks(rows, start)]
        for column in (self._parts.target, self._parts.mask):
            if column is None:
                chunks.append(repeat(None))
            else:
                parts = column.chunks(rows, start)
                chunks.append(_one_ahead(parts) if self._ahead else parts)
        return zip(*chunks, strict=False)

    def _kept(self, start: int, target: Sequences, mask: Sequences | None) -> tuple[Positions, Array, int]:
        """The places of the chunk's positions, the indices of targets that count, and the number of masked targets."""
        offsets = np.concatenate([[0], np.cumsum(target.lengths)])
        places = Positions(start, None, self._inner or (), offsets if self._inner is None else None)
        has_target = np.ones(len(target.values), bool)
        if self._shift:
            has_target[offsets[:-1][target.lengths > 0]] = False  # nothing predicts the first position
        if mask is None:
            return places, np.flatnonzero(has_target), 0
        self._check_lengths(start, target.lengths, mask.lengths, 1)
        counts = has_target & self._checked_mask(places._replace(start=start + self._ahead), mask.values)
        return places, np.flatnonzero(counts), int(has_target.sum() - counts.sum())

    def _checked_mask(self, places: Positions, mask: Array) -> Array:
        counts: Array = mask == 1
        wrong = ~counts & (mask != 0)
        if wrong.any():
            i = int(wrong.argmax())
            place = told_place(places.place(i))
            raise ValueError(
                f"expected 1 (counts) and 0 (does not) in {self._parts.names[2]}, got {mask[i]} at {place}"
            )
        return counts

    def _check_lengths(self, start: int, lengths: Array, others: Array, first: int = 0) -> None:
        """Checks that two neighbouring parts have the same lengths. `first` is the index of the first of them."""
        lengths = lengths[: len(others)]
        if (wrong := lengths != others).any():
            row = int(wrong.argmax())
            name, other = self._parts.names[first : first + 2]
            problem = f"{name} has {lengths[row]} positions at row {start + row}, and {other} has {others[row]}"
            raise ValueError(problem)


def _one_ahead(chunks: Iterator[Sequences]) -> Iterator[Sequences]:
    """The same rows without the first one, in chunks that each begin one row later."""
    waiting = next(chunks, None)
    for chunk in chunks:
        if waiting:
            yield Sequences(*(np.concatenate([a[1:], b[:1]]) for a, b in zip(waiting, chunk, strict=True)))
        waiting = chunk
    if waiting:
        yield Sequences(*(each[1:] for each in waiting))


def _take(values: Array, indices: Array) -> Array:
    """The values at these indices, without a copy if nothing is left out."""
    if len(indices) and indices[-1] - indices[0] + 1 == len(indices):
        return values[indices[0] : indices[-1] + 1]
    return values[indices]
