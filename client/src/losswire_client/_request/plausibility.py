"""Checks by their numbers whether batches hold what their loss takes.

The check reads a batch once more, so it is made only on request.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire.losses import LOSSES
from losswire.rows import row_shape
from losswire_client._errors import invalid_argument
from losswire_client._request.suspicions import SUSPICIONS, Finding

BLOCK = 2**16  # how many numbers are checked together, few enough for a core's cache

Array = npt.NDArray[Any]


class Plausibility:
    """Looks at batches of a loss: at all rows, or at some rows of each batch.

    Args:
        loss: Name of the loss.
        ignore_index: Target of rows that do not count, and so may hold any numbers.
    """

    def __init__(self, loss: str, ignore_index: int = -100) -> None:
        self._is_elementwise = LOSSES[loss].elementwise
        self._ignore_index = ignore_index
        self._suspicions = SUSPICIONS[loss]()

    def add(self, input: Array, target: Array, *, first_row: int = 0, most: int | None = None) -> None:
        """Looks at a batch whose dtypes and shapes are right.

        Args:
            input: The input of the loss.
            target: The target of the loss.
            first_row: Number of the batch's first row in findings.
            most: How many rows to look at, evenly spread over the batch; all if None.
        """
        shape = input.shape if self._is_elementwise else row_shape(input.shape)
        x, y, shape = (input, target, shape) if shape else (input[None], target[None], (1,))
        if x.size:
            for rows in _blocks(shape, x.size, most):
                self._add(_numbers(x, shape, rows), _numbers(y, shape, rows), rows + first_row)

    def findings(self) -> list[Finding]:
        """The first finding so far about each argument."""
        found: dict[str, Finding] = {}
        for suspicion in self._suspicions:
            if finding := suspicion.finding():
                found.setdefault(finding.argument, finding)
        return list(found.values())

    def _add(self, input: Array, target: Array, rows: Array) -> None:
        arrays = {"input": input, "target": target}
        if not self._is_elementwise and target.dtype.kind in "iu":
            counted = target[:, 0] != self._ignore_index
            arrays, rows = {"input": input[counted]}, rows[counted]
        for suspicion in self._suspicions:
            if suspicion.argument in arrays and not suspicion.settled:
                numbers = arrays[suspicion.argument].astype(np.float64, copy=False)
                are_numbers = ~np.isnan(numbers).any(axis=1)
                suspicion.add(numbers[are_numbers], rows[are_numbers])


def check_plausible(loss: str, input: Array, target: Array, ignore_index: int) -> None:
    """Looks at all rows of a batch whose dtypes and shapes are right.

    Raises:
        InvalidArgumentError: An argument is not what the loss takes.
    """
    plausibility = Plausibility(loss, ignore_index)
    plausibility.add(input, target)
    for argument, problem, row in plausibility.findings():
        raise invalid_argument(argument, problem if row is None else f"{problem} at row {row}")


def _blocks(shape: tuple[int, ...], size: int, most: int | None) -> Iterator[Array]:
    """The numbers of the rows to look at, in blocks."""
    count = int(np.prod(shape))
    rows = np.arange(count) if most is None else np.linspace(0, count - 1, min(most, count), dtype=np.int64)
    step = max(1, BLOCK * count // size)
    return (rows[start : start + step] for start in range(0, len(rows), step))


def _numbers(array: Array, shape: tuple[int, ...], rows: Array) -> Array:  # (rows, C) or (rows, 1)
    index: tuple[Any, ...] = np.unravel_index(rows, shape)
    has_classes = array.shape != shape
    found: Array = array[(index[0], slice(None), *index[1:]) if has_classes else index]
    return found if has_classes else found[:, None]
