"""Writes the loss of each row to a file while the rows pass."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from losswire_client._readers import Array
from losswire_client.cli._failures import CommandError, ExitCode
from losswire_client.cli._output import RowFile, RowWriter
from losswire_client.cli.evaluation.tallies._evaluated import Evaluated


def row_writer(path: Path | None) -> RowWriter[Evaluated]:
    return RowWriter(path, _open)


class NpyRows:
    """The losses as an array with the rows of the file. Losses that are ignored or left out are 0, as in PyTorch."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._rows = 0
        self._row: Array | None = None
        self._written = 0

    def add(self, evaluated: Evaluated) -> None:
        losses = np.ascontiguousarray(evaluated.losses)
        if self._row is None:
            self._rows, self._row = evaluated.file_rows, np.zeros(_row_shape(evaluated), losses.dtype)
            self._write_header(self._row)
        rows, positions = evaluated.places(np.arange(losses.size))
        indices = rows * self._row.size + positions
        if losses.size:
            filled = np.zeros(indices[-1] + 1 - self._written, losses.dtype)
            filled[indices - self._written] = losses
            self._write(filled)

    def close(self) -> None:
        if self._row is None:
            self._write_header(np.zeros((), np.float32))
        else:
            self._write(np.zeros(self._rows * self._row.size - self._written, self._row.dtype))
        self._file.close()

    def discard(self) -> None:
        self._file.close()

    def _write(self, losses: Array) -> None:
        self._file.write(losses.data)
        self._written += losses.size

    def _write_header(self, row: Array) -> None:
        shape = (self._rows, *row.shape)
        header = {"descr": npy.dtype_to_descr(row.dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._file, header)


class TableRows:
    """A line for each loss that counts, with its place, target and prediction."""

    def __init__(self, path: Path, suffix: str) -> None:
        import pyarrow as pa
        from pyarrow import csv, parquet

        numbers = {"row": pa.int64(), "position": pa.int64(), "target": pa.float64(), "prediction": pa.int64()}
        self._schema = pa.schema({"file": pa.string(), **numbers, "loss": pa.float64()})
        self._writer = (csv.CSVWriter if suffix == ".csv" else parquet.ParquetWriter)(path, self._schema)

    def add(self, evaluated: Evaluated) -> None:
        import pyarrow as pa

        counted = np.flatnonzero(evaluated.counted)
        rows, positions = evaluated.places(counted)
        columns: dict[str, Any] = {
            "file": pa.repeat(pa.scalar(str(evaluated.file)), len(counted)),
            "row": rows,
            "position": pa.nulls(len(counted), pa.int64()) if evaluated.row_shape == () else positions,
            "target": pa.nulls(len(counted), pa.float64())
            if evaluated.target is None
            else evaluated.target[counted].astype(np.float64),
            "prediction": evaluated.predictions[counted],
            "loss": evaluated.losses[counted].astype(np.float64),
        }
        self._writer.write_table(pa.table(columns, schema=self._schema))

    def close(self) -> None:
        self._writer.close()

    def discard(self) -> None:
        self._writer.close()


def _row_shape(evaluated: Evaluated) -> tuple[int, ...]:
    if evaluated.row_shape is None:
        problem = "rows of different lengths make no array: expected a name that ends in .csv or .parquet"
        raise CommandError(f"--output: {evaluated.file}: {problem}", ExitCode.USAGE)
    return evaluated.row_shape


def _open(path: Path, suffix: str) -> RowFile[Evaluated]:
    return NpyRows(path) if suffix == ".npy" else TableRows(path, suffix)
