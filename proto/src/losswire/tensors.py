"""Converts tensor messages from and to numpy, and checks every received tensor first."""

import math

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.dtypes import BY_NAME, BY_WIRE, ElementType, of_numpy
from losswire.errors import FieldError

MAX_DIMENSIONS = 64  # numpy's and torch's limit
# numpy and torch count the bytes of an array in 63 bits, also where a dimension of 0 leaves it without elements, and an
# answer to elements of 2 bytes may have as many of 8.
MAX_ELEMENTS = (2**63 - 1) // 8


def encode(array: npt.NDArray[np.generic], message: v1.Tensor, field: str) -> None:
    """Fills a message in place, since protobuf copies a message that is assigned.

    Raises:
        FieldError: The array's dtype has no counterpart in the contract.
    """
    element = of_numpy(array.dtype)
    if element is None:
        raise FieldError(field, f"expected one of the dtypes {', '.join(BY_NAME)}, got {array.dtype}")
    message.dtype = element.wire
    message.shape.extend(array.shape)
    message.data = to_bytes(array)


def to_bytes(array: npt.NDArray[np.generic]) -> bytes:
    """The elements as they travel: row-major, little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def read(tensor: v1.Tensor, field: str) -> tuple[ElementType, tuple[int, ...], bytes]:
    """Takes dtype, shape and elements out of a received tensor, and checks that its data has the length of its shape.

    Raises:
        FieldError: The tensor contradicts itself.
    """
    (element, shape), data = read_form(tensor, field), tensor.data  # protobuf copies the data at each access
    expected = math.prod(shape) * element.itemsize
    if len(data) != expected:
        raise FieldError(field, f"expected {expected} bytes for {element.name} of shape {shape}, got {len(data)}")
    return element, shape, data


def read_form(tensor: v1.Tensor, field: str) -> tuple[ElementType, tuple[int, ...]]:
    """Takes dtype and shape out of a received tensor, wherever its elements are.

    Raises:
        FieldError: One of them is wrong.
    """
    element = BY_WIRE.get(tensor.dtype)
    if element is None:
        raise FieldError(field, f"expected a dtype that is set and known, got {_dtype_name(tensor.dtype)}")
    shape = tuple(tensor.shape)
    if shape and not (min(shape) > 0 and math.prod(shape) <= MAX_ELEMENTS and len(shape) <= MAX_DIMENSIONS):
        _check_shape(shape, field)
    return element, shape


def decode(tensor: v1.Tensor, field: str) -> npt.NDArray[np.generic]:
    """Returns a received tensor as an array that owns its elements and may be written to.

    Raises:
        FieldError: The tensor contradicts itself.
        TypeError: The tensor is bfloat16 and ``ml_dtypes`` has not been imported.
    """
    element, shape, data = read(tensor, field)
    return np.frombuffer(data, element.numpy).reshape(shape).copy()


def _check_shape(shape: tuple[int, ...], field: str) -> None:
    if len(shape) > MAX_DIMENSIONS:
        raise FieldError(field, f"expected at most {MAX_DIMENSIONS} dimensions, got {len(shape)}")
    if min(shape, default=0) < 0:
        raise FieldError(field, f"expected no negative dimension, got shape {shape}")
    if math.prod(filter(None, shape)) > MAX_ELEMENTS:
        raise FieldError(field, f"expected a shape of at most {MAX_ELEMENTS} elements, got {shape}")


def _dtype_name(number: int) -> str:
    return v1.Dtype.Name(v1.Dtype.ValueType(number)) if number in v1.Dtype.values() else f"number {number}"
