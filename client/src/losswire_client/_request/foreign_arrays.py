"""Turns arrays of any library into numpy arrays, without a copy if they lie in host memory. Imports no such library."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from losswire_client._errors import invalid_argument

ON_CPU = 1  # DLPack's number of the device
Array = npt.NDArray[Any]


def to_numpy(argument: str, value: Any) -> Array:
    """The same elements as a numpy array.

    Raises:
        InvalidArgumentError: The value cannot become a numpy array, or would lose its mask or its autograd graph.
    """
    if type(value) is np.ndarray:
        return value
    if reason := _reason_to_refuse(value):
        raise invalid_argument(argument, f"{_what_came(value)} {reason}")
    problem: Exception | None = None
    for convert in _ways(value):
        try:
            return convert(value)
        except Exception as error:  # noqa: BLE001 - a library may refuse to convert with any error
            problem = problem or error
    first_line = str(problem).partition("\n")[0] or type(problem).__name__
    raise invalid_argument(argument, f"{_what_came(value)} {first_line}") from problem


def detached(value: Any) -> Any:
    """The same tensor of PyTorch without its autograd graph; any other value as it is."""
    return value.detach() if _is_tensor(value) else value


def _reason_to_refuse(value: Any) -> str:
    if isinstance(value, np.ndarray) and isinstance(value, np.ma.MaskedArray):
        return "its mask would be lost; hand in what .filled() gives"
    if _is_tensor(value) and value.requires_grad:
        return "it requires grad; hand in what .detach() gives, or use losswire_client.torch"
    return ""


def _ways(value: Any) -> Iterator[Callable[[Any], Array]]:
    """Ways to convert a value. A library's own way comes first: it knows dtypes and devices that DLPack does not."""
    if _is_tensor(value):
        yield _from_torch
        return
    shared, on_gpu = hasattr(value, "__dlpack__"), hasattr(value, "__cuda_array_interface__")
    if hasattr(value, "__array__") or not (shared or on_gpu):  # otherwise numpy would see a list or a single object
        yield np.asarray
    if shared:
        yield _from_dlpack
    if on_gpu:
        yield _from_cupy


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # only if the caller has imported it: this package does not
    return torch is not None and isinstance(value, torch.Tensor)


def _from_torch(tensor: Any) -> Array:
    torch: Any = sys.modules["torch"]
    if tensor.dtype is torch.bfloat16:  # PyTorch cannot hand it to numpy, which needs `ml_dtypes` for it
        return _from_torch(tensor.view(torch.int16)).view(ml_dtypes.bfloat16)
    array: Array = tensor.numpy(force=True)  # `force` copies from a GPU
    return array


def _from_dlpack(value: Any) -> Array:
    here = value.__dlpack_device__()[0] == ON_CPU
    return np.from_dlpack(value) if here else np.from_dlpack(value, device="cpu")  # older libraries have no `device`


def _from_cupy(value: Any) -> Array:
    return np.asarray(value.get())


def _what_came(value: Any) -> str:
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    form = "" if dtype is None or shape is None else f" {str(dtype).removeprefix('torch.')} of shape {tuple(shape)};"
    return f"expected an array, got a {type(value).__name__}:{form}"
