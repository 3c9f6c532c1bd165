"""The table of element types: on the wire, in numpy and in torch."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from losswire import v1


@dataclass(frozen=True)
class ElementType:
    """An element type of the contract.

    Attributes:
        name: Its name in numpy and in torch, as in ``float32``.
        wire: Its number in ``losswire.v1.Dtype``.
        itemsize: Bytes per element.
        floating: Whether it is a floating-point type.
    """

    name: str
    wire: v1.Dtype.ValueType
    itemsize: int
    floating: bool = False

    @cached_property
    def numpy(self) -> np.dtype[np.generic]:
        """The numpy dtype, little-endian.

        Raises:
            TypeError: For bfloat16, which numpy knows only after the caller has imported ``ml_dtypes``.
        """
        return np.dtype(self.name).newbyteorder("<")


ELEMENT_TYPES = (
    ElementType("float64", v1.Dtype.DTYPE_FLOAT64, 8, floating=True),
    ElementType("float32", v1.Dtype.DTYPE_FLOAT32, 4, floating=True),
    ElementType("float16", v1.Dtype.DTYPE_FLOAT16, 2, floating=True),
    ElementType("bfloat16", v1.Dtype.DTYPE_BFLOAT16, 2, floating=True),
    ElementType("int64", v1.Dtype.DTYPE_INT64, 8),
    ElementType("int32", v1.Dtype.DTYPE_INT32, 4),
    ElementType("int16", v1.Dtype.DTYPE_INT16, 2),
    ElementType("uint8", v1.Dtype.DTYPE_UINT8, 1),
    ElementType("bool", v1.Dtype.DTYPE_BOOL, 1),
)

BY_NAME = {element.name: element for element in ELEMENT_TYPES}
FLOATING = tuple(name for name, element in BY_NAME.items() if element.floating)  # for inputs, weights and gradients
INTEGERS = tuple(name for name, element in BY_NAME.items() if not element.floating and name != "bool")  # for classes
BY_WIRE = {element.wire: element for element in ELEMENT_TYPES}
_BY_NUMPY = {np.dtype(name): element for name, element in BY_NAME.items() if name != "bfloat16"}


def of_numpy(dtype: np.dtype[np.generic]) -> ElementType | None:
    """The element type of a numpy dtype in any byte order; None if the contract has no such type."""
    return _BY_NUMPY.get(dtype) or BY_NAME.get(dtype.name)  # the name is slow, since numpy builds it each time
