"""A data set in several files."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from losswire.exact_sums import ExactSums
from losswire_client import Client, Run

ROWS, CLASSES = 120, 5
RNG = np.random.default_rng(23)
LOGITS = RNG.standard_normal((ROWS, CLASSES), np.float32)
TARGET = RNG.integers(0, CLASSES, ROWS)
TARGET[::17] = -100
WEIGHT = RNG.random(ROWS, np.float32)
DOMAIN = np.array(["web", "books", "web"] * (ROWS // 3))
HALF = ROWS // 2
BLOCK_ROWS = HALF // 3
LABELS = {"block_rows": str(BLOCK_ROWS)}
KEYS = [f"{name}:{row}" for name in ("a.parquet", "deep/b.npz") for row in range(0, HALF, BLOCK_ROWS)]

Array = npt.NDArray[Any]


def table(rows: slice = slice(None)) -> Any:
    columns = {"target": TARGET[rows], "weight": WEIGHT[rows], "domain": DOMAIN[rows]}
    return pa.table({"logits": list(LOGITS[rows]), **columns})


def save(folder: Path) -> Path:
    """Writes half of the rows as three row groups of Parquet, and half as npz."""
    (folder / "deep").mkdir()
    parquet.write_table(table(slice(HALF)), folder / "a.parquet", row_group_size=BLOCK_ROWS)
    half = slice(HALF, None)
    columns = {"target": TARGET[half], "weight": WEIGHT[half], "domain": DOMAIN[half]}
    np.savez(folder / "deep" / "b.npz", logits=LOGITS[half], **columns)  # type: ignore[arg-type] # the names are others
    return folder


def whole(client: Client, **options: Any) -> ExactSums:
    """The exact sums of all rows, evaluated at once by this process."""
    found = client.cross_entropy(LOGITS, TARGET, exact=True, outputs=("predictions",), **options).exact
    assert found is not None
    return found


def bare(keys: Iterable[str]) -> list[str]:
    """Keys without the fingerprints of their files."""
    return [re.sub(r"@[0-9a-f]{12}(?=:)", "", key) for key in keys]


def slices_of(run: Run) -> dict[str, str]:
    """The keys that count in a run, in their order, each with its slice."""
    return {key.key: key.slice for key in run.keys(slice=None)}
