"""Payloads in messages of any writer: at any address, of any dtype."""

import ml_dtypes
import numpy as np
import pytest
import torch

from losswire import v1
from losswire.dtypes import ELEMENT_TYPES
from losswire.errors import FieldError
from losswire.frames import REQUESTS
from losswire_server.requests.decoding import from_bytes
from tests.server.calls.raw_streams import slab_frame

assert ml_dtypes.bfloat16  # the table of dtypes needs it


@pytest.mark.parametrize("offset", range(17))
@pytest.mark.parametrize("element", ELEMENT_TYPES, ids=lambda element: element.name)
def test_payload_at_any_address_has_its_values(element, offset):
    values = (np.arange(6) % 2).astype(element.numpy).reshape(2, 3)
    payload = memoryview(bytes(offset) + values.tobytes())[offset:]
    tensor = from_bytes(payload, getattr(torch, element.name), (2, 3), "slab.input")
    assert tensor.dtype == getattr(torch, element.name)
    assert tensor.tolist() == values.tolist()


def test_slab_of_another_writer_has_its_values():
    values = np.random.default_rng(0).standard_normal((5, 7))
    for padding in range(20):
        slab = v1.Slab(row_count=5, padding=bytes(padding), input=values.tobytes())
        frame = slab_frame(v1.EvaluateStreamRequest(slab=slab).SerializeToString())
        tensor = from_bytes(frame.payloads["input"], torch.float64, values.shape, "slab.input")
        np.testing.assert_array_equal(tensor.numpy(), values)


def test_aligned_payload_is_not_copied():
    values = np.arange(6, dtype=np.float64)
    written = REQUESTS.write(0, 6, {"input": values.view(np.uint8).data})
    tensor = from_bytes(slab_frame(written).payloads["input"], torch.float64, (6,), "slab.input")
    assert tensor.tolist() == values.tolist()
    assert np.shares_memory(tensor.numpy(), np.frombuffer(written, np.uint8))


@pytest.mark.parametrize(("shape", "size"), [((2, 3), 23), ((2, 3), 25), ((2**62, 2**62), 4), ((0, 3), 1), ((), 0)])
def test_payload_of_another_length_is_refused(shape, size):
    with pytest.raises(FieldError, match=rf"slab.input: expected \d+ bytes for float32 of shape .*, got {size}"):
        from_bytes(memoryview(bytes(size)), torch.float32, shape, "slab.input")


def test_empty_payload_is_an_empty_tensor():
    assert from_bytes(memoryview(b""), torch.float32, (0, 3), "slab.input").shape == (0, 3)
