import math

import numpy as np
import numpy.typing as npt

from losswire_client._readers import Array, Dataset, FileError, told_place
from losswire_client.cli.evaluation._batches import class_count
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation.tallies._evaluated import Evaluated


class ClassSums:
    """Sums over rows by their target. Binary labels are the classes 0 and 1.

    Attributes:
        row_count: (C) int64, rows that counted.
        loss_sum: (C) float64, sums of losses.
        correct_count: (C) int64, rows whose prediction is their target.
    """

    def __init__(self, class_count: int, weight: Array | None = None) -> None:
        self.row_count = np.zeros(class_count, np.int64)
        self.loss_sum = np.zeros(class_count)
        self.correct_count = np.zeros(class_count, np.int64)
        self._weight = np.ones(class_count) if weight is None else weight

    def add(self, evaluated: Evaluated) -> None:
        classes = _classes(evaluated)
        correct = evaluated.predictions[evaluated.counted] == classes
        self.row_count += self._sum(classes)
        self.loss_sum += self._sum(classes, evaluated.losses[evaluated.counted])
        self.correct_count += self._sum(classes[correct])

    @property
    def loss(self) -> npt.NDArray[np.float64]:
        """The mean loss over the rows of each class alone."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.loss_sum / (self.row_count * self._weight)

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """The share of each class's rows that is predicted right."""
        with np.errstate(invalid="ignore"):
            return self.correct_count / self.row_count

    def _sum(self, classes: Array, values: Array | None = None) -> Array:
        return np.bincount(classes, values, minlength=len(self.row_count))


class LabelSums(ClassSums):
    """Sums for rows with a label for each of several classes. Every row counts for all classes.

    Attributes:
        positive_count: (C) int64, rows that have the class.
    """

    def __init__(self, class_count: int) -> None:
        super().__init__(class_count)
        self.positive_count = np.zeros(class_count, np.int64)
        self._hit_count = np.zeros(class_count, np.int64)

    def add(self, evaluated: Evaluated) -> None:
        shape = (-1, len(self.row_count), int(np.prod(evaluated.result.loss.shape[2:])))
        labels, predictions = _classes(evaluated).reshape(shape), evaluated.predictions.reshape(shape)
        self.row_count += labels.shape[0] * labels.shape[2]
        self.loss_sum += evaluated.losses.reshape(shape).sum(axis=(0, 2), dtype=np.float64)
        self.correct_count += (predictions == labels).sum(axis=(0, 2))
        self.positive_count += labels.sum(axis=(0, 2))
        self._hit_count += (predictions & labels).sum(axis=(0, 2))

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """For each class, the share of the rows with this class whose label is predicted right."""
        with np.errstate(invalid="ignore"):
            return self._hit_count / self.positive_count


def class_sums(dataset: Dataset, plan: Plan) -> ClassSums:
    """Sums for the classes that a file's rows have.

    Raises:
        FileError: The targets are distributions.
    """
    if plan.loss.has_classes:
        if not dataset.has_class_indices:
            raise FileError(dataset.path, "only class indices can be added up by class")
        return ClassSums(class_count(dataset, plan), plan.weight)
    row = dataset.input_shape[1:]
    return ClassSums(2) if math.prod(row) == 1 else LabelSums(row[0])


def check_same_classes(dataset: Dataset, sums: ClassSums | None, others: ClassSums | None) -> None:
    """Checks that a file's classes can be added to the classes of other files.

    Raises:
        FileError: The classes differ.
    """
    if sums and others and (len(sums.row_count) != len(others.row_count) or type(sums) is not type(others)):
        problem = f"has {len(sums.row_count)} classes, and others have {len(others.row_count)}"
        raise FileError(dataset.path, problem)


def _classes(evaluated: Evaluated) -> npt.NDArray[np.int64]:
    """The classes of the rows that counted."""
    target = np.asarray(evaluated.target)
    if target.dtype.kind not in "iu" and (soft := (target != 0) & (target != 1)).any():
        first = int(soft.argmax())
        place = told_place(evaluated.place(first))
        raise FileError(
            evaluated.file, f"only labels 0 and 1 can be added up by class, got {target[first]:g} at {place}"
        )
    return target[evaluated.counted].astype(np.int64)
