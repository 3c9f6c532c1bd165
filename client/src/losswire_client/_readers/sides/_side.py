"""One of two models that are compared: the file with its distributions, and how its rows are read."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from losswire_client._readers._batches import first_row
from losswire_client._readers._columns import Array, ArrayFile, EvenSequences, SequenceColumn
from losswire_client._readers._dataset import told_of
from losswire_client._readers._folders import open_path
from losswire_client._readers._names import CLASS_NAMES, HIDDEN_NAMES, INPUT_NAMES, TOP_NAMES, Kind, choose, kind_named
from losswire_client._readers._opening import Found
from losswire_client._readers.sides._base_file import BaseFile, is_base_file
from losswire_client._readers.sides._choice import Choice, Form
from losswire_client._readers.sides._flat import Flat, Padded, Stream

USUAL_NAMES = {Form.LOGITS: INPUT_NAMES, Form.HIDDEN_STATES: HIDDEN_NAMES, Form.TOP: TOP_NAMES}


@dataclass(frozen=True)
class Side:
    """A file with a distribution in each row.

    Attributes:
        path: The file.
        name: Name of the array.
        form: What its rows are.
        width: Numbers of a row: classes, or the hidden dimension; of some classes those of the first row.
        row_bytes: Bytes of a row.
        is_seekable: Whether rows in the middle can be read without all rows before them.
        file: The file of arrays; None for a base file.
        base: The base file of llama.cpp, if it is one.
    """

    path: Path
    name: str
    form: Form
    width: int
    row_bytes: int
    is_seekable: bool
    values: Stream
    classes: Stream | None = None
    file: ArrayFile | None = None
    base: BaseFile | None = None

    @property
    def row_count(self) -> int | None:
        """How many rows there are; None if it is known only when all are read."""
        return self.values.row_count

    @property
    def with_logarithm(self) -> bool:
        """Whether the file has probabilities, of which the logarithm is read."""
        return self.form is Form.LOGITS and kind_named(self.name) is Kind.PROBABILITIES

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What reading it may raise."""
        return (*(self.file.errors if self.file else ()), ValueError)

    def rows(self, rows: int, start: int = 0) -> Iterator[tuple[Array, Array | None]]:
        """The numbers of so many rows at a time, from one on, and of some classes their indices, of the same shape."""
        with told_of(self.path, self.errors):
            classes = self.classes.chunks(rows, start) if self.classes else repeat(None)
            for values, named in zip(self.values.chunks(rows, start), classes, strict=self.classes is not None):
                if named is not None and values.shape != named.shape:
                    raise ValueError(f"{self.name} has rows of shape {values.shape}, and its classes {named.shape}")
                yield (_logarithm(values) if self.with_logarithm else values), named


def open_side(path: Path, choice: Choice, opened: ExitStack) -> Side:
    """Opens the chosen array, or the array with a usual name.

    Raises:
        FileError: The file's format is unknown, or it is damaged, or has no such array.
    """
    with told_of(path, (ValueError,)):
        return _open_base(path, choice) if is_base_file(path) else _open_arrays(path, choice, opened)


def _open_base(path: Path, choice: Choice) -> Side:
    if choice.form is not Form.LOGITS:
        raise ValueError(f"is a base file of llama.cpp, which has a number for each class, expected {choice.form}")
    base = BaseFile(path)
    width = base.class_count
    return Side(path, "log_probabilities", choice.form, width, 4 * width, is_seekable=True, values=base, base=base)


def _open_arrays(path: Path, choice: Choice, opened: ExitStack) -> Side:
    file = opened.enter_context(closing(open_path(path, choice.split)))
    name = choose(file, choice.name, _usual(file, USUAL_NAMES[choice.form]), choice.option)
    values, width, itemsize = _stream(Found(path, file, name), choice.form, padding=-np.inf)
    classes = None
    if choice.form is Form.TOP:
        classes_name = choose(file, choice.classes_name, CLASS_NAMES, "--classes")
        classes, _, _ = _stream(Found(path, file, classes_name), choice.form, padding=0)
    return Side(
        *(path, name, choice.form, width, width * itemsize),
        is_seekable=file.is_seekable,
        values=values,
        classes=classes,
        file=file,
    )


def _stream(found: Found, form: Form, padding: float) -> tuple[Stream, int, int]:
    """The rows of an array, their width, and the bytes of a number. What is padded by 0 are classes."""
    floating = padding != 0
    if form is Form.TOP and found.file.has_lists(found.name):
        lists = found.sequences(floating=floating)
        first = next(lists.chunks(1), None)
        return Padded(lists, padding), 0 if first is None else len(first.values), 8
    column = _positions(found, floating=floating)
    return Flat(column), column.item_shape[-1], _itemsize(column)


def _positions(found: Found, *, floating: bool) -> SequenceColumn:
    if found.file.has_sequences(found.name):
        return found.sequences(floating=floating)
    column = found.input() if floating else found.target()
    if len(column.shape) < 2:
        raise ValueError(f"expected {found.name} of shape (rows, ..., classes), got {column.shape}")
    if not floating and any(row.dtype.kind not in "iu" for row in first_row(column)):
        raise ValueError(f"expected class indices in {found.name}")
    return EvenSequences(found.name, column, len(column.shape) - 1)


def _itemsize(column: SequenceColumn) -> int:
    first = next(column.chunks(1), None)
    return 4 if first is None else first.values.itemsize


def _usual(file: ArrayFile, names: Collection[str]) -> Collection[str]:
    """The usual names. The only array of a file may have any name."""
    return file.names if len(file.names) == 1 else names


def _logarithm(probabilities: Array) -> Array:
    """The logarithm in at least float32."""
    numbers = probabilities.astype(np.promote_types(probabilities.dtype, np.float32), copy=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(numbers))
