"""From what callers hand in to arrays that the contract can carry. Whether they are right, others check."""

import sys
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from losswire.dtypes import of_numpy
from losswire_client._errors import invalid_argument

MAX_CLASS = np.iinfo(np.int64).max


def floating_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Logits, weights, gradients. Whole numbers in a list are meant as numbers; an array of integers is a mistake."""
    array = to_numpy(argument, value)
    if array.dtype.kind in "iu" and _is_list(value):
        return array.astype(np.float64)
    return array


def target_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """Targets; those of an integer dtype that the contract has no type for travel as int64."""
    array = to_numpy(argument, value)
    if array.size == 0 and _is_list(value):
        return array.astype(np.int64)
    if array.dtype.kind not in "iu" or of_numpy(array.dtype) is not None:
        return array
    if array.size and array.max() > MAX_CLASS:
        raise invalid_argument(argument, f"expected classes that int64 holds, got {array[array > MAX_CLASS][0]}")
    return array.astype(np.int64)


def to_numpy(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
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
    return isinstance(value, list | tuple | range | int)
