"""Two files of the same rows: what a model says, and what another model says in its place."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from losswire_client._readers._columns import Array
from losswire_client._readers._dataset import FileError
from losswire_client._readers.sides._base_file import BaseFile
from losswire_client._readers.sides._choice import Form, PairSource
from losswire_client._readers.sides._clipped import with_rest
from losswire_client._readers.sides._labels import LabelSource
from losswire_client._readers.sides._side import Side


class PairRows(NamedTuple):
    """Rows of both files.

    Attributes:
        reference: (rows, ...) logits or hidden states of the first model, or log-probabilities of some classes.
        classes: (rows, k) these classes.
        candidate: (rows, ...) logits or hidden states of the second model.
        labels: (rows) class indices.
        indices: (rows) int64, which rows of the files they are.
        end: The first row of the files after these, and after those among them that do not count.
        masked_count: How many rows a mask has left out.
    """

    reference: Array
    classes: Array | None
    candidate: Array
    labels: Array | None
    indices: npt.NDArray[np.int64]
    end: int
    masked_count: int


@dataclass(frozen=True)
class Pair:
    """Two files of the same rows, opened.

    Attributes:
        source: The files.
        reference: The first file.
        candidate: The second file.
        labels: The labels of the rows, if there are any.
    """

    source: PairSource
    reference: Side
    candidate: Side
    labels: LabelSource | None
    opened: ExitStack = field(repr=False)

    @property
    def row_count(self) -> int | None:
        """How many rows there are; None if it is known only when all are read."""
        counts = (self.reference.row_count, self.candidate.row_count)
        return next((count for count in counts if count is not None), None)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of both files."""
        return self.reference.row_bytes + self.candidate.row_bytes

    @property
    def is_seekable(self) -> bool:
        """Whether rows in the middle can be read without all rows before them."""
        return self.row_count is not None and self.reference.is_seekable and self.candidate.is_seekable

    def batches(self, rows: int, start: int = 0) -> Iterator[PairRows]:
        """The rows from one on, so many at a time, without those that do not count.

        Raises:
            FileError: A file is damaged, or one has more rows than the other.
        """
        labels: Iterator[Array] = self.labels.rows(rows, start) if self.labels else iter(())
        sides = zip_longest(self.reference.rows(rows, start), self.candidate.rows(rows, start), labels)
        for reference, candidate, of_rows in sides:
            self._check_counts(start, [0 if part is None else len(part[0]) for part in (reference, candidate)], of_rows)
            values, classes = reference
            yield _counted(*self._filled(values, candidate[0]), classes, of_rows, start)
            start += len(values)

    def close(self) -> None:
        """Closes the files."""
        self.opened.close()

    def _filled(self, reference: Array, candidate: Array) -> tuple[Array, Array]:
        """The rows, with numbers for classes that a base file leaves open."""
        if self.reference.base:
            reference = with_rest(reference, None if self.candidate.base else candidate)
        if self.candidate.base:
            candidate = with_rest(candidate, reference)
        return reference, candidate

    def check(self) -> None:
        """Checks what is known before rows are read.

        Raises:
            FileError: The files have other rows or classes.
        """
        forms = {self.reference.form, self.candidate.form}
        if (self.reference.base or self.candidate.base) and forms != {Form.LOGITS}:
            base, other = (self.reference, self.candidate) if self.reference.base else (self.candidate, self.reference)
            problem = (
                f"expected logits in {other.path}, got {other.form}: a base file leaves the least likely classes open"
            )
            raise FileError(base.path, problem)
        counts = self.reference.row_count, self.candidate.row_count
        if None not in counts and counts[0] != counts[1]:
            raise self._differs(f"{counts[0]} rows", f"{counts[1]}")
        if forms == {Form.LOGITS} and self.reference.width != self.candidate.width:
            raise self._differs(f"{self.reference.width} classes", f"{self.candidate.width}")
        if self.reference.base and self.candidate.base:
            self._check_text(self.reference.base, self.candidate.base)

    def _check_text(self, reference: BaseFile, candidate: BaseFile) -> None:
        differs = reference.labels != candidate.labels
        if not differs.any():
            return
        row = differs.argmax()
        problem = (
            f"row {row} predicts token {reference.labels[row]}, and that of {self.candidate.path} token "
            f"{candidate.labels[row]}: expected base files of the same text"
        )
        raise FileError(self.reference.path, problem)

    def _check_counts(self, start: int, counts: list[int], labels: Array | None) -> None:
        if counts[0] != counts[1]:
            first, other = (f"{start + n}{' or more' if n == max(counts) else ''}" for n in counts)
            raise self._differs(f"{first} rows", other)
        if self.labels and (labels is None or len(labels) != counts[0]):
            labelled = start + (0 if labels is None else len(labels))
            problem = f"{self.labels.name} has labels for {labelled} rows, expected one for each of {start + counts[0]}"
            raise FileError(self.labels.path, problem)

    def _differs(self, there: str, other: str) -> FileError:
        problem = f"{self.reference.name} has {there}, and {self.candidate.name} of {self.candidate.path} has {other}"
        return FileError(self.reference.path, problem)


def _counted(reference: Array, candidate: Array, classes: Array | None, labels: Array | None, start: int) -> PairRows:
    """The rows that count."""
    end = start + len(reference)
    indices = np.arange(start, end)
    if labels is None:
        return PairRows(reference, classes, candidate, None, indices, end, 0)
    kept = labels["is_row"] & labels["counts"]
    masked = int((labels["is_row"] & ~labels["counts"]).sum())
    if not kept.all():
        reference, candidate, indices, labels = reference[kept], candidate[kept], indices[kept], labels[kept]
        classes = None if classes is None else classes[kept]
    return PairRows(reference, classes, candidate, labels["label"].copy(), indices, end, masked)
