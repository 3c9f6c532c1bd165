"""Files of logits and targets, as users have them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet
from safetensors.numpy import save_file

FORMATS = ("npz", "compressed.npz", "safetensors", "parquet", "columns.parquet")

Arrays = Mapping[str, npt.NDArray[Any]]


def write(folder: Path, format: str, arrays: Arrays, row_group_size: int = 7) -> Path:
    """Writes named arrays; as Parquet, in row groups that fit no chunk."""
    path = folder / f"rows.{format}"
    if format == "npz":
        np.savez(path, allow_pickle=True, **arrays)
    elif format == "compressed.npz":
        np.savez_compressed(path, allow_pickle=True, **arrays)
    elif format == "safetensors":
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    else:
        columns = _numbered if format == "columns.parquet" else _lists
        parquet.write_table(pa.table(columns(arrays)), path, row_group_size=row_group_size)
    return path


def _lists(arrays: Arrays) -> dict[str, pa.Array]:
    return {
        name: pa.FixedSizeListArray.from_arrays(array.reshape(-1), array.shape[1])
        if array.ndim == 2
        else pa.array(array)
        for name, array in arrays.items()
    }


def _numbered(arrays: Arrays) -> dict[str, pa.Array]:
    """A column for each class, the last one first."""
    matrices = {name: array for name, array in arrays.items() if array.ndim == 2}
    columns = {f"{name}_{i}": pa.array(m[:, i]) for name, m in matrices.items() for i in reversed(range(m.shape[1]))}
    return columns | {name: pa.array(array) for name, array in arrays.items() if array.ndim == 1}
