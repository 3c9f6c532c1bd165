"""What dtypes and shapes must be. No element is looked at."""

from typing import Any

import numpy.typing as npt

from losswire.dtypes import BY_NAME, of_numpy
from losswire.rows import row_shape
from losswire_client._errors import invalid_argument

FLOATING = tuple(name for name, element in BY_NAME.items() if element.floating)

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


def is_floating(array: Array) -> bool:
    element = of_numpy(array.dtype)
    return element is not None and element.floating


def check_floating(argument: str, array: Array) -> None:
    if not is_floating(array):
        raise invalid_argument(argument, f"expected one of the dtypes {', '.join(FLOATING)}, got {_dtype_name(array)}")


def check_class_input(input: Array) -> None:
    check_floating("input", input)
    if not input.ndim:
        raise invalid_argument("input", "expected shape (C), (N, C) or (N, C, d1, ..., dk), got a scalar")


def check_index_target(target: Array, shape: Shape) -> None:
    if target.dtype.kind not in "iu":
        problem = f"expected class indices of an integer dtype, got {_dtype_name(target)}"
        raise invalid_argument("target", problem)
    expected = row_shape(shape)
    if target.shape != expected:
        rows = f"one class index for each row of input of shape {shape}"
        raise invalid_argument("target", f"expected shape {expected}, {rows}, got {target.shape}")


def check_probability_target(target: Array, shape: Shape) -> None:
    if target.shape != shape:
        expected = f"expected class indices of an integer dtype or probabilities of the input's shape {shape}"
        raise invalid_argument("target", f"{expected}, got {_dtype_name(target)} of shape {target.shape}")


def check_like_input(target: Array, shape: Shape) -> None:
    check_floating("target", target)
    if target.shape != shape:
        raise invalid_argument("target", f"expected the input's shape {shape}, got {target.shape}")


def check_class_weight(weight: Array, classes: int) -> None:
    check_floating("weight", weight)
    if weight.shape != (classes,):
        raise invalid_argument("weight", f"expected shape ({classes},), one number a class, got {weight.shape}")


def check_broadcasts(argument: str, array: Array, shape: Shape) -> None:
    check_floating(argument, array)
    sizes = zip(reversed(array.shape), reversed(shape), strict=False)
    if array.ndim > len(shape) or any(size not in (1, wanted) for size, wanted in sizes):
        problem = f"expected a shape that broadcasts to the input's {shape}, got {array.shape}"
        raise invalid_argument(argument, problem)


def check_shape(argument: str, array: Array, shape: Shape) -> None:
    check_floating(argument, array)
    if array.shape != shape:
        raise invalid_argument(argument, f"expected the loss's shape {shape}, got {array.shape}")


def _dtype_name(array: Array) -> str:
    """As the contract calls it, in which a byte order has no place; as numpy does where the contract has no name."""
    element = of_numpy(array.dtype)
    return str(array.dtype) if element is None else element.name
