import numpy as np
import numpy.typing as npt

from losswire_client import Result
from losswire_client.cli.readers import Array


class ClassSums:
    """What rows add up to by their target.

    Attributes:
        row_count: (C) int64, rows that counted.
        loss_sum: (C) float64.
        correct_count: (C) int64, rows whose prediction is their target.
    """

    def __init__(self, class_count: int, ignore_index: int, weight: Array | None) -> None:
        self.row_count = np.zeros(class_count, np.int64)
        self.loss_sum = np.zeros(class_count)
        self.correct_count = np.zeros(class_count, np.int64)
        self._ignore_index = ignore_index
        self._weight = np.ones(class_count) if weight is None else weight

    def add(self, target: Array, result: Result) -> None:
        counted = target.reshape(-1) != self._ignore_index
        classes = target.reshape(-1)[counted].astype(np.int64)
        losses = result.loss.reshape(-1)[counted].astype(np.float64)
        correct = np.asarray(result.predictions).reshape(-1)[counted] == classes
        self.row_count += self._sum(classes)
        self.loss_sum += self._sum(classes, losses)
        self.correct_count += self._sum(classes[correct])

    @property
    def loss(self) -> npt.NDArray[np.float64]:
        """What the mean is over a class's rows alone."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.loss_sum / (self.row_count * self._weight)

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """The part of a class's rows that is predicted right."""
        with np.errstate(invalid="ignore"):
            return self.correct_count / self.row_count

    def _sum(self, classes: Array, values: Array | None = None) -> Array:
        return np.bincount(classes, values, minlength=len(self.row_count))
