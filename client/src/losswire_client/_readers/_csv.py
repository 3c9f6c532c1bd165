"""``.csv`` and ``.tsv``: a line of names, and then a line for each row. They are parsed block by block."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from losswire_client._readers._columns import Array, Column
from losswire_client._readers._tables import NumberColumn, TableFile, without_first

BLOCK_BYTES = 2**22
LINES_A_BLOCK = 8  # at least so many, judged by the length of the first two lines


class CsvFile(TableFile):
    is_seekable = False

    def __init__(self, path: Path) -> None:
        super().__init__(CsvTable(path))
        self._path = path

    def target(self, name: str) -> Column:
        column = self.column(name)
        return WholeNumbers(column) if len(column.shape) == 1 and _are_whole(column) else column

    def labels(self, name: str) -> Column:
        return NumberColumn(CsvTable(self._path, pa.string()), [name])


class WholeNumbers:
    """A column of numbers without fractions, read as integers, since text has no dtypes."""

    def __init__(self, column: Column) -> None:
        self.shape = column.shape
        self._column = column

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        return (chunk.astype(np.int64) for chunk in self._column.chunks(rows, start))


class CsvTable:
    """A table whose numbers are all read as float64, since a later block may need another type than the first.

    Args:
        path: The file.
        type: Type to read columns as, if another one.
    """

    def __init__(self, path: Path, type: Any = None) -> None:
        self._path = path
        self._type = type
        self._block_bytes = max(BLOCK_BYTES, LINES_A_BLOCK * _line_bytes(path))
        with _rows_counted():
            self.schema: Any = self._open().schema
        self._types = {field.name: field.type for field in self.schema}
        if all(map(_is_number, self.schema.names)):
            raise ValueError(f"expected a first line of names, got {', '.join(self.schema.names[:5])}")

    @cached_property
    def row_count(self) -> int:
        return sum(batch.num_rows for batch in self.batches(self.schema.names[:1], 0, 0))

    def batches(self, names: Sequence[str], _rows: int, start: int) -> Iterator[Any]:
        with _rows_counted():
            yield from without_first(self._open(names), start)

    def number_count(self, _name: str) -> int:
        return 0  # CSV has no lists

    def close(self) -> None:
        """Does nothing: a file is open only while it is read."""

    def _open(self, names: Sequence[str] = ()) -> Any:
        numbers = [name for name in names if self._type or not pa.types.is_boolean(self._types[name])]
        types = dict.fromkeys(numbers, self._type or pa.float64())
        return csv.open_csv(
            self._path,
            csv.ReadOptions(use_threads=False, block_size=self._block_bytes),  # errors name rows only with one thread
            csv.ParseOptions(delimiter="\t" if self._path.suffix.lower() == ".tsv" else ","),
            csv.ConvertOptions(include_columns=names, column_types=types, null_values=[""]),
        )


def _are_whole(column: Column) -> bool:
    return all(chunk.dtype.kind == "f" and bool(np.all(chunk == np.floor(chunk))) for chunk in column.chunks(2**16))


def _line_bytes(path: Path) -> int:
    """Bytes of the longer of the first two lines."""
    with path.open("rb") as file:
        return max(len(file.readline()), len(file.readline()))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@contextmanager
def _rows_counted() -> Iterator[None]:
    """Has errors count rows as all other errors do: from 0, and without the line of names."""
    try:
        yield
    except pa.ArrowException as error:
        raise ValueError(re.sub(r"Row #(\d+)", lambda row: f"row {int(row[1]) - 2}", str(error))) from error
