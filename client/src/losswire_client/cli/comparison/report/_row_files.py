"""Writes the divergence of each row to a file while the rows pass."""

from pathlib import Path
from typing import Any

import numpy as np

from losswire_client._readers import Array
from losswire_client.cli._output import RowFile, RowWriter
from losswire_client.cli.comparison._compared import Compared


def row_writer(path: Path | None) -> RowWriter[Compared]:
    return RowWriter(path, _open)


class NpyRows:
    """The divergences as an array with the rows of one pair of files. Rows that do not count are 0."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._losses: list[Array] = []
        self._end = 0
        self._file_rows: int | None = None

    def add(self, compared: Compared) -> None:
        first, self._end, self._file_rows = self._end, compared.rows.end, compared.file_rows
        losses = np.zeros(self._end - first, compared.losses.dtype)
        losses[compared.indices - first] = compared.losses
        self._losses.append(losses)

    def close(self) -> None:
        losses = np.concatenate(self._losses or [np.zeros(0, np.float32)])
        if self._file_rows is not None:  # the last batches may have no row that counts
            losses = np.pad(losses, (0, self._file_rows - self._end))
        with self._path.open("wb") as file:
            np.save(file, losses)

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

    def discard(self) -> None:
        self._writer.close()


def _open(path: Path, suffix: str) -> RowFile[Compared]:
    return NpyRows(path) if suffix == ".npy" else TableRows(path, suffix)
