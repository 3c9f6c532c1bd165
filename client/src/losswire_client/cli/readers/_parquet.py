"""``.parquet``: a column of lists for the logits, or a column for each class: ``logits_0``, ``logits_1`` and so on."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from pyarrow.compute import list_value_length

from losswire_client.cli.readers._columns import Array

BUFFER_BYTES = 2**20  # of a column's pages: without it, a row group is read whole, and a file may have only one


class ParquetFile:
    errors = (pa.ArrowException, ValueError)

    def __init__(self, path: Path) -> None:
        self._file = parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False)
        self._columns = {name: [name] for name in self._file.schema_arrow.names}
        self._columns |= numbered(self._columns)
        self.names = self._columns.keys()

    def column(self, name: str) -> "ParquetColumn":
        return ParquetColumn(self._file, self._columns[name])

    def close(self) -> None:
        self._file.close()


class ParquetColumn:
    """One column of numbers or of lists; or several of numbers, side by side."""

    def __init__(self, file: Any, names: Sequence[str]) -> None:
        self._file = file
        self._names = names
        row: Array = next(self._chunks(1), np.empty(0))
        self.shape = (file.metadata.num_rows, *row.shape[1:])

    def chunks(self, rows: int) -> Iterator[Array]:
        for chunk in self._chunks(rows):
            if chunk.shape[1:] != self.shape[1:]:
                raise _uneven(self._names[0], self.shape[-1], chunk.shape[-1])
            yield chunk

    def _chunks(self, rows: int) -> Iterator[Array]:
        for batch in self._file.iter_batches(rows, columns=self._names):
            arrays = [as_numpy(name, batch.column(name)) for name in self._names]
            yield arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)


def numbered(names: Collection[str]) -> dict[str, list[str]]:
    """Columns that are numbered from 0 on, by what stands before their numbers, in their numbers' order."""
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for name in names:
        if match := re.fullmatch(r"(.+?)[_.]?(\d+)", name):
            found[match[1]][int(match[2])] = name
    return {
        stem: [columns[i] for i in range(len(columns))]
        for stem, columns in found.items()
        if stem not in names and columns.keys() == set(range(len(columns)))
    }


def as_numpy(name: str, array: Any) -> Array:
    """Numbers of shape (rows), or lists of them of shape (rows, length)."""
    if array.null_count:
        raise ValueError(f"{name} has rows without a value")
    if not isinstance(array, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    lengths = np.unique(list_value_length(array).to_numpy(zero_copy_only=False))
    if len(lengths) > 1:
        raise _uneven(name, lengths[0], lengths[-1])
    return as_numpy(name, array.flatten()).reshape(len(array), *lengths)


def _uneven(name: str, length: int, other: int) -> ValueError:
    return ValueError(f"{name} has lists of {length} and of {other} numbers")
