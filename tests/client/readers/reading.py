"""Writes files of any format, and reads them."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from pyarrow import csv, feather, parquet

from losswire_client._readers import FileError, Selection, Source, open_dataset
from tests.client.cli.files import write

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((23, 12), np.float32)  # columns of two digits; rows that no chunk size here divides
TARGET = RNG.integers(12, size=23)
LISTS = pa.table({"logits": pa.FixedSizeListArray.from_arrays(LOGITS.reshape(-1), 12), "label": TARGET})


def rows_of(
    path: Path, target_path: Path | None = None, rows: int = 5, **selection: Any
) -> tuple[npt.NDArray[Any], ...]:
    with closing(open_dataset(Source(path, target_path), Selection(**selection))) as dataset:
        batches = list(dataset.batches(rows))
    return tuple(np.concatenate(parts) for parts in zip(*(batch.arguments for batch in batches), strict=True))


def assert_read(found: tuple[npt.NDArray[Any], ...], logits: Any = LOGITS, target: Any = TARGET) -> None:
    np.testing.assert_array_equal(found[0], logits)
    np.testing.assert_array_equal(found[1], target)


def refused(path: Path, *more: Any, **selection: Any) -> str:
    with pytest.raises(FileError) as error:
        rows_of(path, *more, **selection)
    assert str(error.value).startswith(str(path))
    return str(error.value).removeprefix(f"{path}: ")


def save_arrays(folder: Path, **arrays: npt.NDArray[Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def save_text(folder: Path, text: str, name: str = "rows.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def write_table(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=7)
    elif path.suffix in (".csv", ".tsv"):
        csv.write_csv(table, path, csv.WriteOptions(delimiter="\t" if path.suffix == ".tsv" else ","))
    elif path.suffix == ".feather":
        feather.write_feather(table, path, chunksize=7)
    else:
        with pa.ipc.new_stream(path, table.schema) as out:
            out.write_table(table, max_chunksize=7)
    return path


def saved(folder: Path, suffix: str) -> Path:
    path = folder / f"rows.{suffix}"
    if suffix in ("feather", "arrow"):
        return write_table(path, LISTS)
    if suffix == "npy":
        np.save(path, LOGITS)
        return path
    return write(folder, suffix, {"logits": LOGITS, "target": TARGET})
