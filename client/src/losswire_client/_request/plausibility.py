"""Checks by their numbers whether batches hold what their loss takes.

The check reads a batch once more, so it is made only on request.
"""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire.losses import LOSSES
from losswire.rows import row_shape
from losswire_client._errors import invalid_argument
from losswire_client._request.suspicions import SUSPICIONS, Finding, of_some_classes

BLOCK = 2**16  # how many numbers are checked together, few enough for a core's cache

Array = npt.NDArray[Any]


class Plausibility:
    """Looks at batches of a loss: at all rows, or at some rows of each batch.

    Args:
        loss: Name of the loss.
        ignore_index: Target of rows that do not count, and so may hold any numbers; for divergences their label.
        hidden: Arguments that are hidden states, which may be any numbers.
        some_classes: Whether the target of a divergence is log-probabilities of some classes.
    """

    def __init__(
        self, loss: str, ignore_index: int = -100, *, hidden: Collection[str] = (), some_classes: bool = False
    ) -> None:
        self._kind = LOSSES[loss]
        self._ignore_index = ignore_index
        suspicions = of_some_classes() if some_classes else SUSPICIONS[loss]()
        self._suspicions = [suspicion for suspicion in suspicions if suspicion.argument not in hidden]

    def add(
        self,
        input: Array,
        target: Array,
        labels: Array | None = None,
        *,
        first_row: int = 0,
        most: int | None = None,
    ) -> None:
        """Looks at a batch whose dtypes and shapes are right.

        Args:
            input: The input of the loss.
            target: The target of the loss.
            labels: Those of a divergence; None if there are none.
            first_row: Number of the batch's first row in findings.
            most: How many rows to look at, evenly spread over the batch; all if None.
        """
        kind, last = self._kind, self._kind.classes_last
        shape = input.shape if kind.elementwise else row_shape(input.shape, last=last)
        arrays = {"input": input, "target": target, **({} if labels is None else {"labels": labels})}
        if not shape:
            arrays, shape = {name: array[None] for name, array in arrays.items()}, (1,)
        if input.size:
            for rows in _blocks(shape, input.size, most):
                of_rows = {name: _numbers(array, shape, rows, last=last) for name, array in arrays.items()}
                self._add(of_rows, rows + first_row)

    def findings(self) -> list[Finding]:
        """The first finding so far about each argument."""
        found: dict[str, Finding] = {}
        for suspicion in self._suspicions:
            if finding := suspicion.finding():
                found.setdefault(finding.argument, finding)
        return list(found.values())

    def _add(self, arrays: dict[str, Array], rows: Array) -> None:
        classes = arrays.pop("labels", arrays["target"])
        if not self._kind.elementwise and classes.dtype.kind in "iu":
            counted = classes[:, 0] != self._ignore_index
            arrays = {name: array[counted] for name, array in arrays.items() if array is not classes}
            rows = rows[counted]
        for suspicion in self._suspicions:
            if suspicion.argument in arrays and not suspicion.settled:
                numbers = arrays[suspicion.argument].astype(np.float64, copy=False)
                are_numbers = ~np.isnan(numbers).any(axis=1)
                suspicion.add(numbers[are_numbers], rows[are_numbers])


def check_plausible(
    loss: str, input: Array, target: Array, ignore_index: int, labels: Array | None = None, **kinds: Any
) -> None:
    """Looks at all rows of a batch whose dtypes and shapes are right.

    Args:
        loss: As for `Plausibility`, like the further keywords.
        input: As for `Plausibility.add`, like the target and the labels.
        target: The target of the loss.
        ignore_index: As for `Plausibility`.
        labels: Those of a divergence; None if there are none.
        **kinds: What kinds of arrays they are.

    Raises:
        InvalidArgumentError: An argument is not what the loss takes.
    """
    plausibility = Plausibility(loss, ignore_index, **kinds)
    plausibility.add(input, target, labels)
    for argument, problem, row in plausibility.findings():
        raise invalid_argument(argument, problem if row is None else f"{problem} at row {row}")


def _blocks(shape: tuple[int, ...], size: int, most: int | None) -> Iterator[Array]:
    """The numbers of the rows to look at, in blocks."""
    count = int(np.prod(shape))
    rows = np.arange(count) if most is None else np.linspace(0, count - 1, min(most, count), dtype=np.int64)
    step = max(1, BLOCK * count // size)
    return (rows[start : start + step] for start in range(0, len(rows), step))


def _numbers(array: Array, shape: tuple[int, ...], rows: Array, *, last: bool) -> Array:  # (rows, n) or (rows, 1)
    index: tuple[Any, ...] = np.unravel_index(rows, shape)
    has_classes = array.shape != shape
    found: Array = array[(index[0], slice(None), *index[1:]) if has_classes and not last else index]
    return found if has_classes else found[:, None]
