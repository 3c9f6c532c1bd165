"""Arrays of any library go in, without a copy where they lie in this machine's memory."""

import array
import os
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pytest
import torch

from losswire_client import InvalidArgumentError
from losswire_client._request.arrays import floating_array, target_array
from tests import processes
from tests.client.request.foreign_arrays import (
    Halves,
    Interface,
    LikeCupy,
    OldOnGpu,
    OldShared,
    OnGpu,
    Series,
    Shared,
    SharedSequence,
)

NUMBERS = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def masked(numbers):
    return np.ma.masked_array(numbers, mask=[[False, False, True]] * 2)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda numbers: numbers,
        memoryview,
        torch.from_numpy,
        Shared,
        OldShared,
        SharedSequence,
        Series,
        Interface,
        lambda numbers: numbers.view(np.recarray).view(np.matrix),
    ],
)
@pytest.mark.parametrize(
    "view",
    [lambda x: x, lambda x: x.T, lambda x: x[:, 1:2], lambda x: x[0, 0:1].reshape(())],
    ids=["whole", "transposed", "part", "scalar"],
)
def test_array_in_memory_is_not_copied(wrapped, view):
    numbers = view(NUMBERS.copy())
    if wrapped(numbers).__class__ is np.matrix:
        numbers = np.atleast_2d(numbers)
    given = floating_array("input", wrapped(numbers))
    assert type(given) is np.ndarray
    assert np.shares_memory(given, numbers)
    np.testing.assert_array_equal(given, numbers)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensor_on_the_cpu_is_not_copied(dtype):
    tensor = torch.arange(24, dtype=dtype).view(2, 3, 4)
    detached = tensor.clone().requires_grad_().detach()
    for view in (tensor, tensor.transpose(0, 2), tensor[1, ::2], tensor[0, 0, 0], detached):
        given = floating_array("input", view)
        assert given.ctypes.data == view.data_ptr()
        assert given.strides == tuple(stride * dtype.itemsize for stride in view.stride())
        assert given.dtype.name == str(dtype).removeprefix("torch.")
        assert given.astype(float).tolist() == view.tolist()


def run(program: str, **environment: str) -> None:
    """Runs a program in its own process, since JAX warns if a process that has loaded it forks."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    processes.run([sys.executable, "-c", program], check=True, env=environment)


def test_array_of_jax_is_not_copied():
    run("""
import jax.numpy as jnp
from losswire_client._request.arrays import target_array
for dtype in ("float32", "float16", "bfloat16", "int32"):
    numbers = jnp.arange(6, dtype=dtype).reshape(2, 3)
    given = target_array("target", numbers)
    assert given.ctypes.data == numbers.unsafe_buffer_pointer()
    assert (given.dtype.name, given.tolist()) == (dtype, numbers.tolist())
""")


def test_sharded_jax_array_is_put_together():
    program = """
import jax, numpy as np
from losswire_client._request.arrays import floating_array
mesh = jax.sharding.NamedSharding(jax.make_mesh((4,), ("rows",)), jax.sharding.PartitionSpec("rows"))
numbers = np.arange(8, dtype=np.float32).reshape(4, 2)
assert floating_array("input", jax.device_put(numbers, mesh)).tolist() == numbers.tolist()
"""
    run(program, XLA_FLAGS="--xla_force_host_platform_device_count=4")


def test_traced_jax_array_is_refused():
    run("""
import re
import jax, jax.numpy as jnp
from losswire_client import InvalidArgumentError
from losswire_client._request.arrays import floating_array
try:
    jax.jit(lambda x: floating_array("input", x))(jnp.ones(3))
except InvalidArgumentError as error:
    assert re.match(r"input: expected an array, got a \\w*Tracer: float32 of shape \\(3,\\); ", str(error)), error
else:
    raise AssertionError
""")


def test_loss_of_jax_arrays_is_numpys(client, target):
    expected = client.cross_entropy(NUMBERS, [2, 0]).loss
    run(f"""
import jax.numpy as jnp
from losswire_client import Client
with Client({target!r}) as client:
    result = client.cross_entropy(jnp.float32({NUMBERS.tolist()}), jnp.int32([2, 0]), grad=True)
    assert result.loss == {float(expected)}
""")


def test_array_of_arrow_is_not_copied():
    column = pa.array([1.0, 2.0, 3.0])
    assert floating_array("sample_weight", column).ctypes.data == column.buffers()[1].address


@pytest.mark.parametrize("wrapped", [OnGpu, LikeCupy, Halves])
def test_what_lies_elsewhere_is_brought_over(wrapped):
    given = floating_array("input", wrapped(NUMBERS))
    np.testing.assert_array_equal(given.astype(np.float32), NUMBERS)


@pytest.mark.parametrize(
    ("value", "dtype", "numbers"),
    [
        ([1, 2], "float64", [1, 2]),
        ((1, 2.5), "float64", [1, 2.5]),
        (range(3), "float64", [0, 1, 2]),
        (2, "float64", 2),
        (2.5, "float64", 2.5),
        (np.float16(2), "float16", 2),
        ([np.float32(2), np.float32(3)], "float32", [2, 3]),
        ([torch.tensor(1.5), torch.tensor(2.5)], "float32", [1.5, 2.5]),
        (array.array("f", [1, 2]), "float32", [1, 2]),
        (np.int64(2), "int64", 2),
        (array.array("b", [1, 2]), "int8", [1, 2]),
    ],
)
def test_small_things_become_arrays_of_numbers(value, dtype, numbers):
    given = floating_array("weight", value)
    assert (given.dtype.name, given.tolist()) == (dtype, numbers)


def test_read_only_arrays_stay_so():
    numbers = NUMBERS.copy()
    numbers.flags.writeable = False
    assert floating_array("input", numbers) is numbers
    shared: Any = Shared(numbers)
    assert floating_array("input", shared).flags.writeable is False


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.uint32, np.uint64, ">u2"])
def test_unsent_integer_dtypes_become_int64(dtype):
    given = target_array("target", np.array([[0, 1], [2, 100]], dtype))
    assert (given.dtype, given.tolist()) == (np.dtype(np.int64), [[0, 1], [2, 100]])


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.int16, np.uint8, ">i4"])
def test_sent_integer_dtypes_are_not_copied(dtype):
    classes = np.array([0, 1], dtype)
    assert target_array("target", classes) is classes


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            torch.zeros(2, 3, requires_grad=True),
            r"got a Tensor: float32 of shape \(2, 3\); it requires grad; .*\.detach\(\) .* losswire_client\.torch",
        ),
        (torch.nn.Parameter(torch.zeros(3).bfloat16()), r"got a Parameter: bfloat16 of shape \(3,\); it requires grad"),
        (torch.zeros(2, device="meta"), r"got a Tensor: float32 of shape \(2,\); Cannot copy out of meta tensor"),
        (torch.zeros(2).to_sparse(), r"got a Tensor: float32 of shape \(2,\); can't convert Sparse"),
        (torch.zeros(2).to(torch.float8_e5m2), r"got a Tensor: float8_e5m2 of shape \(2,\); .*unsupported"),
        (masked(NUMBERS), r"got a MaskedArray: float32 of shape \(2, 3\); its mask would be lost"),
        (OldOnGpu(NUMBERS), r"got a OldOnGpu: float32 of shape \(2, 3\); .*dl_device"),
        (Shared(NUMBERS.astype(ml_dtypes.bfloat16)), "got a Shared: "),
        ([[1.0], [2.0, 3.0]], "got a list: .*inhomogeneous"),
        ([torch.ones(2, requires_grad=True)], r"got a list: .*requires grad"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("read", [floating_array, target_array])
def test_no_array_is_refused_with_what_came(read, value, message):
    with pytest.raises(InvalidArgumentError, match=f"sample_weight: expected an array, {message}") as raised:
        read("sample_weight", value)
    assert raised.value.argument == "sample_weight"
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (NUMBERS.astype(object), "object"),
        (NUMBERS.astype(np.complex64), "complex64"),
        (NUMBERS.astype(np.longdouble), "float128"),
        (NUMBERS.view([("x", "<f4")]), r"\[\('x', '<f4'\)\]"),
        (np.array(["a"]), "<U1"),
        (np.array([0], "datetime64[s]"), r"datetime64\[s\]"),
        (torch.zeros(2, dtype=torch.complex64), "complex64"),
        (np.zeros(2, ml_dtypes.float8_e4m3fn), "float8_e4m3fn"),
        (np.ones(2, ">i4"), "int32"),
        (pa.array(["a", None]), "object"),
        ({1, 2}, "object"),
        (b"12345678", r"\|S8"),
    ],
    ids=str,
)
def test_other_dtype_is_refused_by_name(client, value, dtype):
    with pytest.raises(InvalidArgumentError, match=f"input: expected one of the dtypes float64, .*, got {dtype}$"):
        client.cross_entropy(value, [0, 1])
    with pytest.raises(InvalidArgumentError, match=f"sample_weight: expected one of the dtypes .*, got {dtype}$"):
        client.cross_entropy(NUMBERS, [0, 1], sample_weight=value)


def test_loss_is_the_same_for_all_libraries(client):
    target = np.array([2, 0])
    expected = client.cross_entropy(NUMBERS, target, grad=True)
    libraries: tuple[Any, ...] = (torch.from_numpy, Shared, OldShared, OnGpu, LikeCupy, np.ndarray.tolist, memoryview)
    for wrapped in libraries:
        result = client.cross_entropy(wrapped(NUMBERS), wrapped(target), grad=True)
        assert float(result.loss) == pytest.approx(float(expected.loss), rel=1e-6)
        np.testing.assert_allclose(result.grad, expected.grad, rtol=1e-6)


def test_no_library_is_imported():
    run("""
import sys
import numpy as np
from losswire_client._request.arrays import floating_array, target_array
floating_array("input", np.ones(3)), floating_array("input", [1, 2]), target_array("target", memoryview(b"12"))
assert not {"torch", "jax", "cupy", "pandas", "numpy.ma"} & set(sys.modules)
""")


def test_immense_shape_without_elements_is_told():
    with pytest.raises(InvalidArgumentError, match=r"target: expected an array that can be int64, got shape \(0, 4611"):
        target_array("target", np.zeros((0, 2**62), np.int8))
