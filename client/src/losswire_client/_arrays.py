"""From anything that numpy takes for an array to one that the contract can carry."""

import sys
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from losswire.dtypes import BY_NAME, of_numpy
from losswire_client._errors import invalid_argument

FLOATING = tuple(name for name, element in BY_NAME.items() if element.floating)
MAX_CLASS = np.iinfo(np.int64).max


def floating_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Logits, weights, gradients. Whole numbers in a list are meant as numbers; an array of integers is a mistake."""
    array = _as_array(argument, value)
    if array.dtype.kind in "iu" and _is_list(value):
        array = array.astype(np.float64)
    element = of_numpy(array.dtype)
    if element is None or not element.floating:
        raise invalid_argument(argument, f"expected one of the dtypes {', '.join(FLOATING)}, got {array.dtype}")
    return array


def target_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Class indices of any integer dtype; those that the contract has no type for travel as int64."""
    array = _as_array(argument, value)
    if array.size == 0 and _is_list(value):
        array = array.astype(np.int64)
    if of_numpy(array.dtype) is not None:
        return array
    if array.dtype.kind not in "iu":
        raise invalid_argument(argument, f"expected class indices of an integer dtype, got {array.dtype}")
    if array.size and array.max() > MAX_CLASS:
        raise invalid_argument(argument, f"expected classes that int64 holds, got {array.max()}")
    return array.astype(np.int64)


def _as_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        return np.asarray(_from_torch(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise invalid_argument(argument, f"expected an array, got a {type(value).__name__}: {error}") from error


def _from_torch(value: npt.ArrayLike) -> npt.ArrayLike:
    """A tensor of PyTorch's as an array, without a copy if it is on the CPU.

    numpy knows bfloat16 only by `ml_dtypes`, and PyTorch knows nothing of that: so the bits go over as integers.
    """
    torch = sys.modules.get("torch")  # of the caller's: this package has no need of it
    if torch is None or not isinstance(value, torch.Tensor) or value.requires_grad:  # which numpy refuses
        return value
    tensor: Any = value.cpu()
    array: npt.NDArray[Any] = tensor.view(torch.int16).numpy() if tensor.dtype is torch.bfloat16 else tensor.numpy()
    return array.view(ml_dtypes.bfloat16) if tensor.dtype is torch.bfloat16 else array


def _is_list(value: npt.ArrayLike) -> bool:
    return not hasattr(value, "dtype")
