"""From anything that numpy takes for an array to one that the contract can carry."""

from typing import Any

import numpy as np
import numpy.typing as npt

from losswire.dtypes import BY_NAME
from losswire_client._errors import invalid_argument

FLOATING = tuple(name for name, element in BY_NAME.items() if element.floating)
MAX_CLASS = np.iinfo(np.int64).max


def floating_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Logits, weights, gradients. Whole numbers in a list are meant as numbers; an array of integers is a mistake."""
    array = _as_array(argument, value)
    if array.dtype.kind in "iu" and _is_list(value):
        array = array.astype(np.float64)
    if array.dtype.name not in FLOATING:
        raise invalid_argument(argument, f"expected one of the dtypes {', '.join(FLOATING)}, got {array.dtype}")
    return array


def target_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Class indices of any integer dtype; those that the contract has no type for travel as int64."""
    array = _as_array(argument, value)
    if array.size == 0 and _is_list(value):
        array = array.astype(np.int64)
    if array.dtype.name in BY_NAME:
        return array
    if array.dtype.kind not in "iu":
        raise invalid_argument(argument, f"expected class indices of an integer dtype, got {array.dtype}")
    if array.size and array.max() > MAX_CLASS:
        raise invalid_argument(argument, f"expected classes that int64 holds, got {array.max()}")
    return array.astype(np.int64)


def _as_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise invalid_argument(argument, f"expected an array, got a {type(value).__name__}: {error}") from error


def _is_list(value: npt.ArrayLike) -> bool:
    return not hasattr(value, "dtype")
