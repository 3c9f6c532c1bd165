"""A file as the evaluation sees it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from losswire_client._readers._batches import PlacedBatch, Rows
from losswire_client._readers._columns import Array, ArrayFile, Shape
from losswire_client._readers._names import choose


class FileError(Exception):
    """A file cannot be evaluated."""

    def __init__(self, path: str | os.PathLike[str], problem: object) -> None:
        super().__init__(path, str(problem))  # so that it can be pickled

    def __str__(self) -> str:
        return "{}: {}".format(*self.args)


@dataclass(frozen=True)
class Selection:
    """The arrays of a file to evaluate, and their rows.

    Attributes:
        input_name: Name of the input; None for the usual names.
        target_name: Name of the targets; None for the usual names.
        input_columns: In place of the input's name, a pattern of columns with a class each.
        mask_name: Name of an array with 1 where a target counts and 0 where it does not; None if all count.
        classes_last: Whether the classes are the input's last dimension instead of its second.
        shift: Whether a position's input predicts the target of the next position, as in language models.
        split: The split to evaluate, in a folder with several splits.
        hidden: Whether the input is hidden states, which have other usual names.
    """

    input_name: str | None = None
    target_name: str | None = None
    input_columns: str | None = None
    mask_name: str | None = None
    classes_last: bool = False
    shift: bool = False
    split: str | None = None
    hidden: bool = False


class Dataset:
    """The rows of a file: logits, or what a loss takes in their place, and targets.

    Attributes:
        path: Path of the file.
        input_name: Name of the input's array in the file.
        target_name: Name of the targets' array in the file.
    """

    def __init__(self, path: Path, names: tuple[str, str], rows: Rows, file: ArrayFile, opened: ExitStack) -> None:
        self.path = path
        self.input_name, self.target_name = names
        self._rows = rows
        self._file = file
        self._opened = opened

    @property
    def input_shape(self) -> Shape:
        """Shape of the input. The rows come first, and then the classes, if there are any."""
        return self._rows.input_shape

    @property
    def target_shape(self) -> Shape:
        """Shape of the targets. The rows come first."""
        return self._rows.target_shape

    @property
    def file_rows(self) -> int:
        """How many rows the file has. Each of them may be several rows here."""
        return self._rows.file_rows

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's input; 0 if there is no row."""
        return self._rows.row_bytes

    @property
    def has_class_indices(self) -> bool:
        """Whether targets are integers; else they are probabilities, or labels of binary losses."""
        return self._rows.has_class_indices

    @property
    def is_seekable(self) -> bool:
        """Whether rows in the middle can be read without all rows before them."""
        return self._file.is_seekable

    @property
    def masked_count(self) -> int:
        """How many rows a mask has left out of the batches so far."""
        return self._rows.masked_count

    def batches(self, rows: int) -> Iterator[PlacedBatch]:
        """All rows, in batches of at most so many."""
        with told_of(self.path, (ValueError,)):
            yield from self._rows.batches(rows)

    def blocks(self, rows: int, start: int = 0) -> Iterator[PlacedBatch]:
        """The rows of the file from one on, a batch for each so many of them, even if it is left without rows."""
        with told_of(self.path, (ValueError,)):
            yield from self._rows.blocks(rows, start)

    def targets(self, rows: int) -> Iterator[Array]:
        """All targets, in batches of at most so many rows."""
        with told_of(self.path, (ValueError,)):
            yield from self._rows.targets(rows)

    def numbers(self, name: str, option: str, rows: int) -> Iterator[Array]:
        """Another array of the input's file that an option names, so many rows of the file at a time."""
        with told_of(self.path, self._file.errors):
            yield from self._file.column(choose(self._file, name, (), option)).chunks(rows)

    def labels(self, name: str, option: str, rows: int, start: int = 0) -> Iterator[Array]:
        """An array of the input's file with the name of a group for each row of the file, so many rows at a time."""
        with told_of(self.path, self._file.errors):
            column = self._file.labels(choose(self._file, name, (), option))
            if column.shape != (self.file_rows,):
                raise ValueError(f"expected one name a row in {name}, got shape {column.shape}")
            yield from column.chunks(rows, start)

    def close(self) -> None:
        """Closes the file."""
        self._opened.close()


@contextmanager
def told_of(path: str | Path, errors: tuple[type[Exception], ...]) -> Iterator[None]:
    """Has errors name the file."""
    try:
        yield
    except errors + (OSError,) as error:  # noqa: RUF005 - mypy understands this form
        raise FileError(path, error) from error
