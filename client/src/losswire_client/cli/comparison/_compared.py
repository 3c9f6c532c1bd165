from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from losswire_client import Result
from losswire_client._readers import Array
from losswire_client._readers.sides import Pair, PairRows
from losswire_client.cli.comparison._plan import Plan


@dataclass(frozen=True)
class Compared:
    """Rows of two files, and their results. The arrays have a number for each row that counts.

    Attributes:
        path: The candidate's file.
        file_rows: How many rows it has; None if that is known only when all are read.
        rows: The rows.
        result: The SDK's result.
        counted: Which rows count: the others have a label that is ignored.
        reference: Log-probability of each label in the reference's distribution, also of rows that do not count; None
            if it is not evaluated.
    """

    path: Path
    file_rows: int | None
    rows: PairRows
    result: Result
    counted: npt.NDArray[np.bool_]
    reference: Array | None = None

    @classmethod
    def of(cls, pair: Pair, rows: PairRows, result: Result, reference: Result | None, plan: Plan) -> "Compared":
        labels = rows.labels
        counted = np.ones(len(rows.indices), np.bool_) if labels is None else labels != plan.ignore_index
        of_labels = None if reference is None else reference.target_log_probabilities
        return cls(pair.source.candidate, pair.row_count, rows, result, counted, of_labels)

    @property
    def losses(self) -> Array:
        return self.result.loss[self.counted]

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Which rows of the files they are."""
        return self.rows.indices[self.counted]

    @property
    def labels(self) -> Array | None:
        return None if self.rows.labels is None else self.rows.labels[self.counted]

    @property
    def predictions(self) -> Array | None:
        """The candidate's predictions."""
        return None if self.result.predictions is None else self.result.predictions[self.counted]

    @property
    def log_probabilities(self) -> Array | None:
        """Log-probability of each label in the candidate's distribution."""
        there = self.result.target_log_probabilities
        return None if there is None else there[self.counted]

    @property
    def changes(self) -> Array | None:
        """How much more than the reference the candidate gives each label, as logarithms."""
        if self.reference is None or self.log_probabilities is None:
            return None
        return np.asarray(self.log_probabilities.astype(np.float64) - self.reference[self.counted])
