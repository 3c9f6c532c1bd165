"""What is evaluated: a classifier's logits of handwritten digits that it has not seen, and parts of them under keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

GROUPS = {"0-4": range(5), "5-9": range(5, 10)}  # digits; the run adds up each group by itself too
TRAINED = 0.3  # of all rows


@dataclass(frozen=True)
class Rows:
    """Logits (N, 10) in float32 and the digits (N), group by group.

    The logits are computed once, and not by each worker for its part: a matrix product may round a row otherwise in a
    batch of another size, and a run promises the same bits for the same logits.
    """

    logits: Array
    target: Array

    def save(self, folder: Path) -> None:
        np.save(folder / "logits.npy", self.logits)
        np.save(folder / "target.npy", self.target)

    @classmethod
    def open(cls, folder: Path) -> "Rows":
        """The rows of a folder, which are read where they are needed."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("logits", "target")))


@dataclass(frozen=True)
class Part:
    """Consecutive rows of one group. The key names the data, not who evaluates it."""

    key: str
    slice: str
    first: int
    end: int


def evaluated_rows() -> Rows:
    """Trains on some of scikit-learn's digits, and gives the logits of all others."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x_train, x_held_out, y_train, y_held_out = train_test_split(
        x / 16, y, train_size=TRAINED, stratify=y, random_state=0
    )
    logits = LogisticRegression(max_iter=1000).fit(x_train, y_train).decision_function(x_held_out)
    order = np.argsort(y_held_out, kind="stable")
    return Rows(logits[order].astype(np.float32), y_held_out[order].astype(np.int64))


def parts_of(rows: Rows, count: int, seed: int) -> list[Part]:
    """All rows in so many parts of random sizes. None of them is padded."""
    rng = np.random.default_rng(seed)
    shares = _shared_out(count, [int(np.isin(rows.target, digits).sum()) for digits in GROUPS.values()])
    return [part for group, share in zip(GROUPS, shares, strict=True) for part in _parts(rows, group, share, rng)]


def _shared_out(count: int, sizes: list[int]) -> list[int]:
    """How many parts each group has."""
    first = round(count * sizes[0] / sum(sizes))
    return [first, count - first]


def _parts(rows: Rows, group: str, count: int, rng: np.random.Generator) -> Iterator[Part]:
    places = np.flatnonzero(np.isin(rows.target, GROUPS[group]))
    inner = np.sort(rng.choice(places[1:], count - 1, replace=False))
    bounds = [int(places[0]), *map(int, inner), int(places[-1]) + 1]
    for first, end in pairwise(bounds):
        yield Part(f"digits:{first}-{end - 1}", group, first, end)
