"""``.csv`` and ``.tsv``, parsed a block at a time: a line of names, and then a line a row."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from losswire_client.cli.readers._columns import Array, Column
from losswire_client.cli.readers._tables import TableFile

BLOCK_BYTES = 2**22
LINES_A_BLOCK = 8  # at least, as far as the first two tell


class CsvFile(TableFile):
    def __init__(self, path: Path) -> None:
        super().__init__(CsvTable(path))

    def target(self, name: str) -> Column:
        column = self.column(name)
        return WholeNumbers(column) if len(column.shape) == 1 and _are_whole(column) else column


class WholeNumbers:
    """A column of numbers without fractions as integers, which a text cannot say."""

    def __init__(self, column: Column) -> None:
        self.shape = column.shape
        self._column = column

    def chunks(self, rows: int) -> Iterator[Array]:
        return (chunk.astype(np.int64) for chunk in self._column.chunks(rows))


class CsvTable:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._block_bytes = max(BLOCK_BYTES, LINES_A_BLOCK * _line_bytes(path))
        with _rows_counted():
            self.schema: Any = self._open().schema
        self._types = {field.name: field.type for field in self.schema}
        if all(map(_is_number, self.schema.names)):
            raise ValueError(f"expected a first line of names, got {', '.join(self.schema.names[:5])}")

    @cached_property
    def row_count(self) -> int:
        return sum(batch.num_rows for batch in self.batches(self.schema.names[:1], 0))

    def batches(self, names: Sequence[str], _rows: int) -> Iterator[Any]:
        with _rows_counted():
            yield from self._open(names)

    def number_count(self, _name: str) -> int:
        return 0  # it has no lists

    def close(self) -> None:
        """Nothing is open but what is being read."""

    def _open(self, names: Sequence[str] = ()) -> Any:
        """All numbers are read as float64: the type that a block suggests may not be that of the next."""
        numbers = [name for name in names if not pa.types.is_boolean(self._types[name])]
        types = dict.fromkeys(numbers, pa.float64())
        return csv.open_csv(
            self._path,
            csv.ReadOptions(use_threads=False, block_size=self._block_bytes),  # only one thread knows the row of errors
            csv.ParseOptions(delimiter="\t" if self._path.suffix.lower() == ".tsv" else ","),
            csv.ConvertOptions(include_columns=names, column_types=types, null_values=[""]),
        )


def _are_whole(column: Column) -> bool:
    return all(chunk.dtype.kind == "f" and bool(np.all(chunk == np.floor(chunk))) for chunk in column.chunks(2**16))


def _line_bytes(path: Path) -> int:
    """Of the longer of the first two."""
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
    """Has errors count rows as others do: from 0, and without the line of names."""
    try:
        yield
    except pa.ArrowException as error:
        raise ValueError(re.sub(r"Row #(\d+)", lambda row: f"row {int(row[1]) - 2}", str(error))) from error
