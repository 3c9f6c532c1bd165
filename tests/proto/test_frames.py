"""Slabs that are written and read by hand agree with the generated classes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from losswire import v1
from losswire.frames import ALIGNMENT, REQUESTS, RESPONSES, SlabFrame
from tests.proto.wire import LENGTH_DELIMITED, VARINT, field, unknown_fields

SIDES = [(REQUESTS, v1.EvaluateStreamRequest, v1.Slab), (RESPONSES, v1.EvaluateStreamResponse, v1.ResultSlab)]
SIDE_IDS = ["requests", "responses"]
NUMBERS = {"first_row": 1, "row_count": 2}
PAYLOADS = {"target": 4, "sample_weight": 5, "weight": 6, "grad_output": 7, "input": 15}
UNKNOWN_NUMBERS = st.one_of(st.integers(16, 2**29 - 1), st.integers(10, 14))

rows = st.integers(0, 2**63 - 1)
payloads = st.dictionaries(st.sampled_from(list(PAYLOADS)), st.binary(max_size=300))


def views(data: dict[str, bytes]) -> dict[str, memoryview]:
    return {name: memoryview(elements) for name, elements in data.items()}


def read(message: bytes) -> SlabFrame:
    frame = REQUESTS.read(message)
    assert isinstance(frame, SlabFrame)
    return frame


def slab_of(frame: SlabFrame) -> v1.Slab:
    data = {name: bytes(payload) for name, payload in frame.payloads.items()}
    return v1.Slab(first_row=frame.first_row, row_count=frame.row_count, **data)


def without_padding(slab: v1.Slab) -> v1.Slab:
    slab.ClearField("padding")
    return slab


@given(rows, rows, payloads)
def test_generated_classes_read_a_slab(first_row, row_count, data):
    message = v1.EvaluateStreamRequest.FromString(REQUESTS.write(first_row, row_count, views(data)))
    assert message.WhichOneof("part") == "slab"
    assert without_padding(message.slab) == v1.Slab(first_row=first_row, row_count=row_count, **data)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), payloads, st.binary(max_size=40))
def test_slab_of_generated_classes_is_read(first_row, row_count, data, padding):
    slab = v1.Slab(first_row=first_row, row_count=row_count, padding=padding, **data)
    frame = read(v1.EvaluateStreamRequest(slab=slab).SerializeToString())
    assert (frame.first_row, frame.row_count, frame.unknown) == (first_row, row_count, ())
    assert slab_of(frame) == without_padding(slab)


@pytest.mark.parametrize(("frames", "message", "slab"), SIDES, ids=SIDE_IDS)
def test_every_field_goes_both_ways(frames, message, slab):
    names = [name for name in slab.DESCRIPTOR.fields_by_name if name not in ("first_row", "row_count", "padding")]
    data = {name: bytes([i]) * i for i, name in enumerate(names, 1)}
    written = frames.write(3, 4, views(data))
    assert without_padding(message.FromString(written).slab) == slab(first_row=3, row_count=4, **data)
    for whole in (written, message(slab=slab(first_row=3, row_count=4, **data)).SerializeToString()):
        frame = frames.read(whole)
        assert {name: bytes(payload) for name, payload in frame.payloads.items()} == data


@pytest.mark.parametrize(("frames", "message", "slab"), SIDES, ids=SIDE_IDS)
def test_slab_of_nothing_is_read_as_such(frames, message, slab):
    for data in (frames.write(0, 0, {}), message(slab=slab()).SerializeToString()):
        assert frames.read(data) == SlabFrame(0, 0, {})


def test_other_part_is_left_to_protobuf():
    header = v1.EvaluateRequest(series="train", target=v1.Tensor(shape=[3]))
    assert REQUESTS.read(v1.EvaluateStreamRequest(header=header).SerializeToString()) == header
    assert (
        REQUESTS.read(v1.EvaluateStreamRequest(header=v1.EvaluateRequest()).SerializeToString()) == v1.EvaluateRequest()
    )
    summary = v1.EvaluateResponse(loss_sum=3.5, row_count=2)
    assert RESPONSES.read(v1.EvaluateStreamResponse(summary=summary).SerializeToString()) == summary


@pytest.mark.parametrize("around", [127, 128, 2**14 - 1, 2**14, 2**21 - 1, 2**21])
def test_length_of_any_width_is_right(around):
    """The slab's own length is written before it is known how much padding goes into it."""
    elements = np.arange(around + 20, dtype=np.uint8)
    for size in range(around - 50, around + 20):
        written = REQUESTS.write(2**40, 3, {"target": elements[:5].data, "input": elements[:size].data})
        frame = read(written)
        assert (frame.first_row, frame.row_count, len(frame.payloads["target"])) == (2**40, 3, 5)
        np.testing.assert_array_equal(np.frombuffer(frame.payloads["input"], np.uint8), elements[:size])
        if around < 2**20:
            assert v1.EvaluateStreamRequest.FromString(written).slab.input == elements[:size].tobytes()


@given(rows, rows, payloads)
def test_written_payloads_are_aligned(first_row, row_count, data):
    written = REQUESTS.write(first_row, row_count, views(data))
    start = np.frombuffer(written, np.uint8).ctypes.data
    assert start % ALIGNMENT == 0  # true for all bytes objects in CPython on 64-bit platforms
    for name, payload in read(written).payloads.items():
        assert not data[name] or np.frombuffer(payload, np.uint8).ctypes.data % ALIGNMENT == 0


@given(payloads.filter(bool))
def test_payload_that_is_read_is_a_view(data):
    written = REQUESTS.write(0, 1, views(data))
    for payload in read(written).payloads.values():
        assert payload.obj is written
        assert not payload or np.shares_memory(np.frombuffer(payload, np.uint8), np.frombuffer(written, np.uint8))


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_cut_batch_comes_together_again(data, cuts):
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut <= len(data))})
    cut = [(a, b - a) for a, b in pairwise(bounds)]
    slabs = [read(REQUESTS.write(a, n, {"input": memoryview(data)[a : a + n]})) for a, n in cut]
    assert [(slab.first_row, slab.row_count) for slab in slabs] == cut
    assert b"".join(slab.payloads["input"] for slab in slabs) == data


def slab_fields(first_row: int, row_count: int, data: dict[str, bytes], overlong: int) -> list[bytes]:
    numbers = {"first_row": first_row, "row_count": row_count}
    fields = [field(NUMBERS[name], VARINT, value, overlong) for name, value in numbers.items()]
    return fields + [field(PAYLOADS[name], LENGTH_DELIMITED, value, overlong) for name, value in data.items()]


@given(rows, rows, payloads, st.lists(unknown_fields(UNKNOWN_NUMBERS), max_size=3), st.integers(0, 2), st.data())
def test_fields_in_any_order_are_read(first_row, row_count, data, unknown, overlong, draw):
    paddings = [field(3, LENGTH_DELIMITED, bytes(size)) for size in draw.draw(st.lists(st.integers(0, 20), max_size=3))]
    fields = slab_fields(first_row, row_count, data, overlong) + paddings + unknown
    message = field(2, LENGTH_DELIMITED, b"".join(draw.draw(st.permutations(fields))))
    frame = read(message)
    assert (frame.first_row, frame.row_count, len(frame.unknown)) == (first_row, row_count, len(unknown))
    assert {name: bytes(payload) for name, payload in frame.payloads.items()} == data
    slab = v1.EvaluateStreamRequest.FromString(message).slab
    slab.DiscardUnknownFields()
    assert without_padding(slab) == slab_of(frame)


def test_last_of_repeated_numbers_counts():
    slab = field(1, VARINT, 5) + field(2, VARINT, 6) + field(1, VARINT, 7) + field(1, VARINT, 2**64 - 2)
    message = field(2, LENGTH_DELIMITED, slab)
    frame, parsed = read(message), v1.EvaluateStreamRequest.FromString(message).slab
    assert (frame.first_row, frame.row_count) == (parsed.first_row, parsed.row_count) == (-2, 6)


def test_wrong_wire_type_is_unknown():
    slab = field(15, VARINT, 5) + field(1, LENGTH_DELIMITED, b"abc")
    frame = read(field(2, LENGTH_DELIMITED, slab))
    assert frame == SlabFrame(0, 0, {}, (15, 1))
