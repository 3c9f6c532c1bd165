import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from losswire_client import Result
from losswire_client._readers import Array, Dataset, PlacedBatch
from losswire_client.cli.evaluation._plan import Plan


@dataclass(frozen=True)
class Evaluated:
    """Rows of a file, and their results. Arrays are flat, with a number for each row and position.

    Attributes:
        file: The file.
        file_rows: How many rows the file has.
        batch: The rows.
        target: Class indices or binary labels; None for distributions.
        counted: Which targets are not ignored.
        losses: Losses in the result's dtype; 0 if ignored.
        weights: What each loss adds to the weight sum; the same as `counted` if all weights are 1.
        result: The SDK's result.
    """

    file: Path
    file_rows: int
    batch: PlacedBatch
    target: Array | None
    counted: npt.NDArray[np.bool_]
    losses: Array
    weights: Array
    result: Result

    @classmethod
    def of(cls, dataset: Dataset, batch: PlacedBatch, result: Result, plan: Plan) -> "Evaluated":
        losses = result.loss.reshape(-1)
        is_index = plan.loss.has_classes and batch.target.dtype.kind in "iu"
        target = batch.target.reshape(-1) if is_index or not plan.loss.has_classes else None
        counted = np.ones(losses.size, np.bool_)
        weights: Array = counted
        if is_index and target is not None:
            weights = counted = target != plan.ignore_index
            if plan.weight is not None:
                weights = np.zeros(losses.size)
                weights[counted] = plan.weight[target[counted].astype(np.int64)]
        return cls(dataset.path, dataset.file_rows, batch, target, counted, losses, weights, result)

    @property
    def predictions(self) -> npt.NDArray[np.int64]:
        return np.asarray(self.result.predictions).reshape(-1)

    @property
    def row_shape(self) -> tuple[int, ...] | None:
        """The shape of the losses of a row of the file; None if rows differ in shape."""
        positions = self.batch.input_positions
        return (*positions.inner, *self.result.loss.shape[1:]) if positions.offsets is None else None

    def places(self, indices: Array) -> tuple[Array, Array]:
        """The places of some losses: rows of the file, and positions in these rows in row-major order."""
        size = math.prod(self.result.loss.shape[1:])
        rows, rest = np.divmod(indices, size)
        rows, positions = self.batch.input_positions.places(rows)
        return rows, positions * size + rest

    def place(self, index: int) -> tuple[int, ...]:
        """The place of a loss: the row of the file, and the position in this row."""
        return self.batch.place(index, self.result.loss.shape)
