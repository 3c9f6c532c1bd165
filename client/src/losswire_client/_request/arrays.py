"""From callers' values to arrays that the contract can carry. Other modules check the arrays."""

from typing import Any

import numpy as np
import numpy.typing as npt

from losswire.dtypes import of_numpy
from losswire_client._errors import invalid_argument
from losswire_client._request.foreign_arrays import to_numpy

MAX_CLASS = np.iinfo(np.int64).max


def floating_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Logits, weights or gradients. Integers in a list become floats, but an array of integers is a mistake."""
    array = to_numpy(argument, value)
    if array.dtype.kind in "iu" and _is_list(value):
        return _converted(argument, array, np.float64)
    return array


def target_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Targets. Integers of a dtype that the contract lacks travel as int64."""
    array = to_numpy(argument, value)
    if array.size == 0 and _is_list(value):
        return _converted(argument, array, np.int64)
    if array.dtype.kind not in "iu" or of_numpy(array.dtype) is not None:
        return array
    if array.size and array.max() > MAX_CLASS:
        raise invalid_argument(argument, f"expected classes that fit int64, got {array[array > MAX_CLASS][0]}")
    return _converted(argument, array, np.int64)


def _converted(argument: str, array: npt.NDArray[Any], dtype: type[np.generic]) -> npt.NDArray[Any]:
    try:
        return array.astype(dtype)
    except ValueError as error:  # of its shape, which may be immense although it has no elements
        name = np.dtype(dtype).name
        raise invalid_argument(argument, f"expected an array that can be {name}, got shape {array.shape}") from error


def _is_list(value: npt.ArrayLike) -> bool:
    return isinstance(value, list | tuple | range | int)
