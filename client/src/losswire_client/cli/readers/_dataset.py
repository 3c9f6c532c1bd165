"""From a file to the rows that a loss takes."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from pkgutil import resolve_name

from losswire.dtypes import of_numpy
from losswire_client.cli._failures import CommandError
from losswire_client.cli.readers._columns import Array, ArrayFile, Batch, Column
from losswire_client.cli.readers._names import INPUT_NAMES, TARGET_NAMES, choose

FORMATS = {
    ".npz": "_npz:NpzFile",
    ".safetensors": "_safetensors:SafetensorsFile",
    ".parquet": "_parquet:ParquetFile",
    ".pq": "_parquet:ParquetFile",
}

Errors = tuple[type[Exception], ...]


class FileError(CommandError):
    """A file cannot be evaluated."""

    def __init__(self, path: Path, problem: object) -> None:
        super().__init__(f"{path}: {problem}")


class Dataset:
    """The rows of a file: logits, or what a loss takes in their place, and targets.

    Attributes:
        path: Of the file.
        input_shape: The rows come first.
        row_bytes: What a row's input takes; 0 if there is no row.
        has_class_indices: Whether targets are integers; else they are probabilities, or labels of binary losses.
    """

    def __init__(self, path: Path, file: ArrayFile, input: Column, target: Column) -> None:
        self.path = path
        self.input_shape = input.shape
        self.row_bytes = sum(row.nbytes for row in _first_row(input))
        self.has_class_indices = all(row.dtype.kind in "iu" for row in _first_row(target))
        self._file = file
        self._input = input
        self._target = target

    def batches(self, rows: int) -> Iterator[Batch]:
        """All rows, so many at a time."""
        with _told_of(self.path, self._file.errors):
            yield from map(Batch, self._input.chunks(rows), self._target.chunks(rows))

    def targets(self, rows: int) -> Iterator[Array]:
        """The targets alone."""
        with _told_of(self.path, self._file.errors):
            yield from self._target.chunks(rows)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def open_dataset(path: Path, input_name: str | None = None, target_name: str | None = None) -> Dataset:
    """The arrays of those names, or the one of each that has a usual name.

    Raises:
        FileError: The file is of no known format, is damaged, or has no such arrays.
    """
    if path.suffix.lower() not in FORMATS:
        raise FileError(path, f"expected a name that ends in {', '.join(FORMATS)}")
    reader = resolve_name(f"{__package__}.{FORMATS[path.suffix.lower()]}")  # which loads its library
    with _told_of(path, reader.errors), ExitStack() as opened:
        file: ArrayFile = opened.enter_context(closing(reader(path)))
        input_name = choose(file.names, input_name, INPUT_NAMES, "--input-name")
        target_name = choose(file.names, target_name, TARGET_NAMES, "--target-name")
        columns = _input(file, input_name), _target(file, target_name)
        rows, targets = (column.shape[0] for column in columns)
        if rows != targets:
            raise ValueError(f"{input_name} has {rows} rows, and {target_name} has {targets}")
        dataset = Dataset(path, file, *columns)
        opened.pop_all()  # from here on the file is closed with the dataset
        return dataset


def _input(file: ArrayFile, name: str) -> Column:
    column = file.column(name)
    for row in _first_row(column):
        element = of_numpy(row.dtype)
        if element is None or not element.floating:
            raise ValueError(f"expected floating-point numbers in {name}, got {row.dtype}")
    return column


def _target(file: ArrayFile, name: str) -> Column:
    column = file.column(name)
    for row in _first_row(column):
        if row.dtype.kind not in "iu" and of_numpy(row.dtype) is None:
            raise ValueError(f"expected numbers in {name}, got {row.dtype}")
    return column


def _first_row(column: Column) -> list[Array]:
    """Tells the dtype, and what one row takes; empty if there is no row."""
    return list(islice(column.chunks(1), 1))


@contextmanager
def _told_of(path: Path, errors: Errors) -> Iterator[None]:
    errors = (*errors, OSError)
    try:
        yield
    except errors as error:
        raise FileError(path, error) from error
