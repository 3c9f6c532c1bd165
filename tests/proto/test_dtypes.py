import ml_dtypes
import numpy as np
import pytest
import torch

from losswire import v1
from losswire.dtypes import BY_NAME, BY_WIRE, ELEMENT_TYPES, ElementType


def test_table_has_every_dtype_once():
    assert sorted(element.wire for element in ELEMENT_TYPES) == sorted(set(v1.Dtype.values()) - {0})
    assert len(BY_NAME) == len(BY_WIRE) == len(ELEMENT_TYPES)


@pytest.mark.parametrize("element", ELEMENT_TYPES, ids=lambda element: element.name)
def test_elements_are_those_of_libraries(element: ElementType):
    torch_dtype = getattr(torch, element.name)
    assert element.itemsize == torch_dtype.itemsize
    assert element.floating == torch_dtype.is_floating_point
    if element.name != "bfloat16":  # numpy does not know it by itself
        assert element.numpy == np.dtype(element.name)
        assert element.numpy.itemsize == element.itemsize


def test_bfloat16_needs_ml_dtypes():
    assert BY_NAME["bfloat16"].numpy == np.dtype(ml_dtypes.bfloat16)
