"""Opens a file as the rows that a loss takes."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from losswire.dtypes import of_numpy
from losswire_client._readers._batches import Rows, WholeRows, first_row
from losswire_client._readers._columns import (
    Array,
    ArrayFile,
    Column,
    EvenSequences,
    SequenceColumn,
    Sequences,
    Shape,
)
from losswire_client._readers._dataset import Dataset, Selection, told_of
from losswire_client._readers._flat_rows import FlatRows, Parts
from losswire_client._readers._folders import Source, open_path
from losswire_client._readers._names import HIDDEN_NAMES, INPUT_NAMES, TARGET_NAMES, choose

USUAL = Selection()


def open_dataset(source: Source, selection: Selection = USUAL) -> Dataset:
    """Opens the selected input and targets, or the arrays with usual names.

    Raises:
        FileError: The file's format is unknown, or it is damaged, or has no such arrays.
    """
    with ExitStack() as opened:
        found = _found(source, selection, opened)
        with told_of(source.path, (ValueError,)):
            rows = _rows(*found, selection)
        names = found[0].name, found[1].name
        # From here on, closing the dataset closes the file.
        return Dataset(source.path, names, rows, found[0].file, opened.pop_all())


class Found(NamedTuple):
    """An array of a file."""

    path: Path
    file: ArrayFile
    name: str

    def input(self) -> Column:
        with told_of(self.path, self.file.errors):
            column = self.file.column(self.name)
            for row in first_row(column):
                self._check_floating(row)
            return ToldColumn(self, column)

    def target(self) -> Column:
        with told_of(self.path, self.file.errors):
            column = self.file.target(self.name)
            for row in first_row(column):
                self._check_numbers(row)
            return ToldColumn(self, column)

    def sequences(self, *, floating: bool = False) -> SequenceColumn:
        with told_of(self.path, self.file.errors):
            column = self.file.sequences(self.name)
            for row, _ in zip(column.chunks(1), range(1), strict=False):
                (self._check_floating if floating else self._check_numbers)(row.values)
            return ToldSequences(self, column)

    def _check_floating(self, row: Array) -> None:
        element = of_numpy(row.dtype)
        if element is None or not element.floating:
            raise ValueError(f"expected floating-point numbers in {self.name}, got {row.dtype}")

    def _check_numbers(self, row: Array) -> None:
        if row.dtype.kind not in "iu" and of_numpy(row.dtype) is None:
            raise ValueError(f"expected numbers in {self.name}, got {row.dtype}")


class ToldColumn:
    """A column whose errors name its file."""

    def __init__(self, found: Found, column: Column) -> None:
        self.shape = column.shape
        self._found = found
        self._column = column

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        with told_of(self._found.path, self._found.file.errors):
            yield from self._column.chunks(rows, start)


class ToldSequences:
    """A sequence column whose errors name its file."""

    def __init__(self, found: Found, column: SequenceColumn) -> None:
        self.row_count = column.row_count
        self.position_count = column.position_count
        self.item_shape = column.item_shape
        self.inner = column.inner
        self._found = found
        self._column = column

    def chunks(self, rows: int, start: int = 0) -> Iterator[Sequences]:
        with told_of(self._found.path, self._found.file.errors):
            yield from self._column.chunks(rows, start)


def _found(source: Source, selection: Selection, opened: ExitStack) -> tuple[Found, Found, Found | None]:
    """The input, the targets and the mask."""
    file = _open(source.path, selection.split, opened)
    found = Found(source.path, file, _input_name(source, file, selection))
    target_path = source.target_path or source.path
    target_file = _open(target_path, None, opened) if source.target_path else file
    target = Found(target_path, target_file, _target_name(source, target_file, selection))
    return found, target, _mask(found, target, selection.mask_name)


def _input_name(source: Source, file: ArrayFile, selection: Selection) -> str:
    with told_of(source.path, (ValueError,)):
        if selection.input_columns:
            others = (selection.target_name, selection.mask_name, *TARGET_NAMES)
            return file.classes(selection.input_columns, others)
        names = HIDDEN_NAMES if selection.hidden else INPUT_NAMES
        return choose(file, selection.input_name, _usual(source, file, names), "--input-name")


def _target_name(source: Source, file: ArrayFile, selection: Selection) -> str:
    with told_of(source.target_path or source.path, (ValueError,)):
        if not source.target_path and source.path.suffix.lower() == ".npy" and source.path.is_file():
            raise ValueError("is one array: name the file of the targets with --target-file, or the folder of both")
        return choose(file, selection.target_name, _usual(source, file, TARGET_NAMES), "--target-name")


def _usual(source: Source, file: ArrayFile, names: Collection[str]) -> Collection[str]:
    """The usual names. If input and targets have a file each, the only array of a file may have any name."""
    return file.names if source.target_path and len(file.names) == 1 else names


def _open(path: Path, split: str | None, opened: ExitStack) -> ArrayFile:
    with told_of(path, (ValueError,)):
        return opened.enter_context(closing(open_path(path, split)))


def _mask(input: Found, target: Found, name: str | None) -> Found | None:
    """The mask, from the file of the targets, to which it belongs, or else from the file of the input."""
    if name is None:
        return None
    there = input if name in input.file.names and name not in target.file.names else target
    with told_of(there.path, (ValueError,)):
        return there._replace(name=choose(there.file, name, (), "--mask-name"))


def _rows(input: Found, target: Found, mask: Found | None, selection: Selection) -> Rows:
    if input.file.has_sequences(input.name):
        parts = Parts(
            input.sequences(floating=True), target.sequences(), mask and mask.sequences(), _names(input, target, mask)
        )
        _check_row_counts(parts.names, [column.row_count for column in parts[:3] if column])
        return FlatRows(parts, selection.shift)
    columns = input.input(), target.target(), mask and mask.target()
    _check_row_counts(_names(input, target, mask), [column.shape[0] for column in columns if column])
    if not (selection.classes_last or selection.shift or mask):
        return WholeRows(*columns[:2])
    return FlatRows(_even_parts(columns, _names(input, target, mask), selection), selection.shift)


def _names(*found: Found | None) -> list[str]:
    return [each.name for each in found if each]


def _check_row_counts(names: Sequence[str], counts: list[int]) -> None:
    for name, count in zip(names, counts, strict=True):
        if count != counts[0]:
            raise ValueError(f"{names[0]} has {counts[0]} rows, and {name} has {count}")


def _even_parts(columns: tuple[Column, Column, Column | None], names: list[str], selection: Selection) -> Parts:
    row_ndim, class_axis = _form(columns, names, selection)
    parts = [
        EvenSequences(name, column, row_ndim, class_axis)
        for name, column in zip(names, (column for column in columns if column), strict=True)
    ]
    rows = [(part.row_count, *(part.inner or ())) for part in parts]
    for name, shape, column in zip(names, rows, columns, strict=False):
        if column and shape != rows[0]:
            problem = f"{name} has shape {column.shape}, expected {rows[0]}, one for each row of {names[0]} of shape"
            raise ValueError(f"{problem} {columns[0].shape}{_hint(columns[0].shape, column.shape, selection)}")
    return Parts(parts[0], parts[1], parts[2] if len(parts) > 2 else None, names)


def _form(columns: tuple[Column, Column, Column | None], names: list[str], selection: Selection) -> tuple[int, int]:
    """How many dimensions of the input are rows, and which dimension is the classes."""
    shape, mask = columns[0].shape, columns[2]
    if selection.classes_last or selection.shift:
        if len(shape) < 2 or (selection.shift and len(shape) > 3):
            expected = (
                "(positions, classes) or (rows, positions, classes)" if selection.shift else "(rows, ..., classes)"
            )
            raise ValueError(f"expected an input of shape {expected}, got {names[0]} of shape {shape}")
        return len(shape) - 1, -1
    if mask and len(mask.shape) in (len(shape), len(shape) - 1):
        return len(mask.shape), 1 if len(mask.shape) < len(shape) else -1
    problem = f"{names[2]} has shape {mask and mask.shape}, expected one for each row of {names[0]} of shape {shape}"
    raise ValueError(problem)


def _hint(input: Shape, other: Shape, selection: Selection) -> str:
    if selection.shift and other[-1] == input[-2] - 1:
        return "; targets that are shifted already need no --shift"
    if selection.hidden:
        return ", whose numbers are last"
    if selection.classes_last and other == (*input[:1], *input[2:]):
        return "; without --classes-last its second dimension is the classes"
    return "; if its classes are last, say --classes-last" if other == input[:-1] else ""
