import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from losswire import tensors, v1
from losswire.dtypes import ELEMENT_TYPES
from losswire.errors import FieldError
from losswire.tensors import decode, read

FLOAT32 = v1.Dtype.DTYPE_FLOAT32
UNKNOWN: Any = 99
NUMPY_DTYPES = [element.numpy for element in ELEMENT_TYPES if element.name != "bfloat16"]


def encode(array) -> v1.Tensor:
    message = v1.Tensor()
    tensors.encode(array, message, "input")
    return message


@given(
    st.sampled_from(NUMPY_DTYPES).flatmap(lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0)))
)
def test_tensor_comes_back_as_it_was(array):
    back = decode(v1.Tensor.FromString(encode(array).SerializeToString()), "input")
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_bfloat16_comes_back_as_it_was():
    array = np.array([[1.5, -2.0, np.inf]], ml_dtypes.bfloat16)
    np.testing.assert_array_equal(decode(encode(array), "input"), array)


def test_decoded_tensor_may_be_written_to():
    array = decode(encode(np.zeros(3, np.float32)), "input")
    array[:] = 1
    assert array.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "array",
    [np.arange(12, dtype=">f4").reshape(3, 4), np.arange(12, dtype=np.float32).reshape(3, 4).T, np.float32(7)],
    ids=["big-endian", "transposed", "scalar"],
)
def test_elements_are_encoded_in_order(array):
    tensor = encode(np.asarray(array))
    assert tensor.dtype == FLOAT32
    assert tensor.data == np.ascontiguousarray(array, "<f4").tobytes()


@pytest.mark.parametrize("dtype", [np.uint64, np.complex64, np.str_, object])
def test_array_of_another_dtype_is_refused(dtype):
    with pytest.raises(FieldError, match=r"input: expected one of the dtypes float64, .*, got"):
        encode(np.zeros(2, dtype))


@pytest.mark.parametrize(
    ("tensor", "problem"),
    [
        (v1.Tensor(shape=[1], data=b"1234"), "expected a dtype that is set and known, got DTYPE_UNSPECIFIED"),
        (v1.Tensor(dtype=UNKNOWN, shape=[1], data=b"1234"), "expected a dtype that is set and known, got number 99"),
        (v1.Tensor(dtype=FLOAT32, shape=[2], data=b"1234"), r"expected 8 bytes for float32 of shape \(2,\), got 4"),
        (v1.Tensor(dtype=FLOAT32, shape=[2]), r"expected 8 bytes for float32 of shape \(2,\), got 0"),
        (v1.Tensor(dtype=FLOAT32, shape=[0], data=b"1"), r"expected 0 bytes for float32 of shape \(0,\), got 1"),
        (v1.Tensor(dtype=FLOAT32, shape=[-1], data=b"1234"), r"expected no negative dimension, got shape \(-1,\)"),
        (v1.Tensor(dtype=FLOAT32, shape=[-1, -1], data=b"1234"), "expected no negative dimension"),
        (v1.Tensor(dtype=FLOAT32, shape=[1] * 65, data=b"1234"), "expected at most 64 dimensions, got 65"),
        (v1.Tensor(dtype=FLOAT32, shape=[0, 2**40, 2**40]), "expected a shape of at most"),
        (v1.Tensor(dtype=FLOAT32, shape=[2**62, 4]), "expected a shape of at most"),
    ],
)
def test_contradictory_tensor_is_refused(tensor, problem):
    with pytest.raises(FieldError, match=problem) as raised:
        read(tensor, "spec.cross_entropy.weight")
    assert raised.value.field == "spec.cross_entropy.weight"


def test_empty_tensor_needs_no_storage():
    assert decode(v1.Tensor(dtype=FLOAT32, shape=[0, 3]), "input").shape == (0, 3)


@given(
    st.sampled_from(ELEMENT_TYPES),
    st.lists(st.sampled_from([0, 1, 3, 2**30, 2**31, 2**59, 2**60 - 1, 2**60, 2**62, 2**63 - 1]), max_size=5),
)
def test_empty_tensor_is_refused_or_has_its_shape_in_numpy(element, shape):
    tensor = v1.Tensor(dtype=element.wire, shape=[0, *shape])
    if math.prod(filter(None, shape)) < 2**60:
        assert decode(tensor, "input").shape == (0, *shape)
        assert np.empty((0, *shape), np.float64).size == 0  # an answer may have elements of 8 bytes
    else:
        with pytest.raises(FieldError, match="elements"):
            decode(tensor, "input")
