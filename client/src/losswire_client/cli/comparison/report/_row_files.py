"""Writes the divergence of each row to a file while the rows pass."""

from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from losswire_client._readers import Array
from losswire_client.cli._output import NewFile
from losswire_client.cli.comparison._compared import Compared

SUFFIXES = (".csv", ".parquet", ".npy")


class RowWriter:
    """Writes rows to a file. The file gets its name when it is complete.

    Args:
        path: The file. Its suffix gives the format. If it is None or has another suffix, no rows are written.
    """

    def __init__(self, path: Path | None) -> None:
        path = path if path and path.suffix.lower() in SUFFIXES else None
        self._new = NewFile(path) if path else None
        self._file = _open(self._new.place, path.suffix.lower()) if path and self._new else None

    @property
    def is_open(self) -> bool:
        """Whether rows are written."""
        return self._file is not None

    def add(self, compared: Compared) -> None:
        if self._file:
            self._file.add(compared)

    def keep(self) -> None:
        """Completes the file and keeps it. Without this call it is deleted."""
        if self._file and self._new:
            self._file.close()
            self._new.keep()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file and self._new:
            self._file.discard()
            self._new.discard()


class RowFile(Protocol):
    def add(self, compared: Compared) -> None: ...

    def close(self) -> None: ...

    def discard(self) -> None: ...


class NpyRows:
    """The divergences as an array with the rows of one pair of files. Rows that do not count are 0."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._losses: list[Array] = []
        self._row_count = 0

    def add(self, compared: Compared) -> None:
        first, self._row_count = self._row_count, int(compared.rows.indices[-1]) + 1
        losses = np.zeros(self._row_count - first, compared.losses.dtype)
        losses[compared.indices - first] = compared.losses
        self._losses.append(losses)

    def close(self) -> None:
        with self._path.open("wb") as file:
            np.save(file, np.concatenate(self._losses or [np.zeros(0, np.float32)]))

    def discard(self) -> None:
        """Does nothing: it is written in the end."""


class TableRows:
    """A line for each row that counts."""

    def __init__(self, path: Path, suffix: str) -> None:
        import pyarrow as pa
        from pyarrow import csv, parquet

        integers = dict.fromkeys(("row", "label", "prediction"), pa.int64())
        numbers = dict.fromkeys(("divergence", "log_probability", "change"), pa.float64())
        self._schema = pa.schema({"file": pa.string(), **integers, **numbers})
        self._writer = (csv.CSVWriter if suffix == ".csv" else parquet.ParquetWriter)(path, self._schema)
        self._is_open = True

    def add(self, compared: Compared) -> None:
        import pyarrow as pa

        columns: dict[str, Any] = {
            "row": compared.indices,
            "label": compared.labels,
            "prediction": compared.predictions,
            "divergence": compared.losses,
            "log_probability": compared.log_probabilities,
            "change": compared.changes,
        }
        count = len(compared.indices)
        arrays = [pa.repeat(pa.scalar(str(compared.path)), count)]
        for name, column in columns.items():
            kind = self._schema.field(name).type
            arrays.append(pa.nulls(count, kind) if column is None else pa.array(column).cast(kind))
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()
        self._is_open = False

    def discard(self) -> None:
        if self._is_open:
            self._writer.close()


def _open(path: Path, suffix: str) -> RowFile:
    return NpyRows(path) if suffix == ".npy" else TableRows(path, suffix)
