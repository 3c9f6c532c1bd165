"""What elements must be. A right array takes one pass or two; only in a wrong one is the place sought."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire_client._errors import invalid_argument

Array = npt.NDArray[Any]


def check_classes(target: Array, classes: int, ignore_index: int) -> None:
    indices = target.view(_unsigned(target.dtype))  # in which negative ones are beyond all classes
    if not target.size or indices.max() < classes:
        return
    wrong = (indices >= classes) & (target != ignore_index)
    if wrong.any():
        row = int(wrong.argmax())
        expected = f"expected classes in [0, {classes}) or ignore_index {ignore_index}"
        raise invalid_argument("target", f"{expected}, got {int(target.flat[row])} at row {row}")


def check_probabilities(argument: str, array: Array, wire_dtype: np.dtype[Any]) -> None:
    """Checks probabilities as they travel. Rounding leads none out of [0, 1], but may lead some into it."""
    if _are_probabilities(array):
        return
    with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN are to be found, not warned of
        numbers = array.astype(wire_dtype, copy=False).reshape(-1)
        wrong = ~((numbers >= 0) & (numbers <= 1))
    if wrong.any():
        i = int(wrong.argmax())
        raise invalid_argument(argument, f"expected probabilities in [0, 1], got {float(numbers[i])} at element {i}")


def check_zeros_and_ones(target: Array, weighting: str) -> None:
    if _are_zeros_and_ones(target):
        return
    with np.errstate(invalid="ignore"):  # as above
        wrong = (target != 0) & (target != 1)
    if wrong.any():
        i = int(wrong.argmax())
        problem = f"expected only 0 and 1 beside weight={weighting!r}, got {float(target.flat[i])} at element {i}"
        raise invalid_argument("target", problem)


def _are_probabilities(array: Array) -> bool:
    """Whether all are in [0, 1], as far as their bits tell, which numpy compares a hundred times faster than bfloat16.

    The bits of floats in [0, 1] are in the order of the floats. Above those of 1 are those of larger numbers, of NaN,
    of negative numbers, and of -0.0, which is a probability all the same.
    """
    return not array.size or bool(array.view(_unsigned(array.dtype)).max() <= _bits_of_one(array.dtype))


def _are_zeros_and_ones(array: Array) -> bool:
    """The same, of 0 and 1."""
    bits = array.view(_unsigned(array.dtype))
    return bool(np.count_nonzero(bits == 0) + np.count_nonzero(bits == _bits_of_one(array.dtype)) == array.size)


@cache
def _bits_of_one(dtype: np.dtype[Any]) -> int:
    return int(np.ones((), dtype).view(_unsigned(dtype)))


@cache
def _unsigned(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Unsigned integers of the same size and byte order."""
    return np.dtype(f"{dtype.byteorder}u{dtype.itemsize}")
