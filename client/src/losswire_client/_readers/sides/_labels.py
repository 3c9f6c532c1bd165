"""The label of each row, and whether the row counts."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from losswire_client._readers._columns import Array, SequenceColumn, Sequences, Shape, slices
from losswire_client._readers._dataset import told_of
from losswire_client._readers.sides._flat import Flat, Stream, cut

MOST_CLASS = np.iinfo(np.int64).max
ROW = np.dtype([("label", np.int64), ("is_row", np.bool_), ("counts", np.bool_)])


class Labels:
    """Labels as rows of `ROW`. With a shift a row has the label of the next position of its sequence.

    Rows whose dtype is one number are one sequence.

    Args:
        labels: Class indices.
        mask: 1 for labels that count and 0 for others; None if all count.
        names: Of these arrays, for errors.
        shift: Whether a row predicts the next position. Then nothing is to be predicted by the last one.

    Attributes:
        inner: The shape of a sequence, as of `SequenceColumn`.
    """

    def __init__(
        self, labels: SequenceColumn, mask: SequenceColumn | None, names: tuple[str, str | None], *, shift: bool
    ) -> None:
        self._labels = labels
        self._mask = mask
        self._names = names
        self._is_ahead = shift and labels.inner == ()
        self._shift = shift and labels.inner != ()
        self.inner = labels.inner
        self.row_count = labels.position_count if labels.inner is not None else None

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        flat = Flat(_Joined(self))
        if not self._is_ahead:
            return flat.chunks(rows, start)
        return cut(chain(flat.chunks(rows, start + 1), [np.zeros(1, ROW)]), rows)

    def sequences(self, rows: int, start: int) -> Iterator[Sequences]:
        """The labels of so many sequences at a time."""
        masks = repeat(None) if self._mask is None else self._mask.chunks(rows, start)
        for labels, mask in zip(self._labels.chunks(rows, start), masks, strict=False):
            joined = np.ones(len(labels.values), ROW)
            joined["label"] = self._checked(labels.values)
            joined["counts"] = True if mask is None else self._checked_mask(mask, labels)
            yield Sequences(self._shifted(joined, labels.lengths) if self._shift else joined, labels.lengths)

    def _shifted(self, joined: Array, lengths: Array) -> Array:
        shifted = np.concatenate([joined[1:], joined[:1]])
        shifted[np.cumsum(lengths)[lengths > 0] - 1] = np.zeros(1, ROW)
        return shifted

    def _checked(self, labels: Array) -> Array:
        if labels.dtype.kind not in "iu":
            raise ValueError(f"expected class indices in {self._names[0]}, got {labels.dtype}")
        if labels.dtype == np.uint64 and labels.max(initial=0) > MOST_CLASS:  # it would wrap around
            raise ValueError(f"expected classes that fit int64 in {self._names[0]}, got {labels.max()}")
        return labels

    def _checked_mask(self, mask: Sequences, labels: Sequences) -> Array:
        if not np.array_equal(mask.lengths, labels.lengths):
            raise ValueError(f"{self._names[1]} has other positions than {self._names[0]}")
        counts: Array = mask.values == 1
        wrong = ~counts & (mask.values != 0)
        if wrong.any():
            value = mask.values[int(wrong.argmax())]
            raise ValueError(f"expected 1 (counts) and 0 (does not) in {self._names[1]}, got {value}")
        return counts


@dataclass(frozen=True)
class LabelSource:
    """Where labels come from.

    Attributes:
        path: Their file.
        name: Name of their array.
        stream: Rows of `ROW`.
        errors: What reading them may raise.
    """

    path: Path
    name: str
    stream: Stream
    errors: tuple[type[Exception], ...] = (ValueError,)

    def rows(self, rows: int, start: int = 0) -> Iterator[Array]:
        """The labels from a row on, so many at a time."""
        with told_of(self.path, self.errors):
            yield from self.stream.chunks(rows, start)


class TokenLabels:
    """The tokens of a base file as labels."""

    def __init__(self, tokens: Array) -> None:
        self._tokens = tokens
        self.row_count: int | None = len(tokens)

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        for part in slices(len(self._tokens), rows, start):
            labels = np.ones(part.stop - part.start, ROW)
            labels["label"] = self._tokens[part]
            yield labels


class _Joined:
    """Labels and their mask as one column."""

    def __init__(self, labels: Labels) -> None:
        column = labels._labels  # noqa: SLF001 - the same file
        self.row_count = column.row_count
        self.position_count = column.position_count
        self.item_shape: Shape = ()
        self.inner = column.inner
        self._labels = labels

    def chunks(self, rows: int, start: int = 0) -> Iterator[Sequences]:
        return self._labels.sequences(rows, start)
