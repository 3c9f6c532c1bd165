from pathlib import Path

import numpy as np

from losswire_client.cli.evaluation.tallies._evaluated import Evaluated

MOST_PLACES = 5


class NonfiniteLosses:
    """Rows whose loss is NaN or infinite.

    Attributes:
        count: How many such rows there are.
        first: The first few of them, each with its file, its row and position in the file, and its loss.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[Path, tuple[int, ...], float]] = []

    def add(self, evaluated: Evaluated) -> None:
        if np.isfinite(evaluated.result.loss_sum):
            return  # then all rows are finite too
        found = np.flatnonzero(~np.isfinite(evaluated.losses))
        self.count += len(found)
        for index in found[: MOST_PLACES - len(self.first)].tolist():
            self.first.append((evaluated.file, evaluated.place(index), float(evaluated.losses[index])))
