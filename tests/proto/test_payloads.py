"""Messages whose large tensors are parsed apart are what protobuf makes of them."""

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given
from hypothesis import strategies as st

from losswire import v1
from losswire.errors import FieldError
from losswire.parsing import parse
from losswire.payloads import LEAST_BYTES, parse_apart, write_with
from losswire.wire import FIXED32, FIXED64, LENGTH_DELIMITED, VARINT, tag, varint

LARGE = st.integers(0, 2**16 - 1).map(lambda seed: bytes([seed % 256, seed // 256]) * (LEAST_BYTES // 2 + seed % 50))
DATA = st.one_of(st.binary(max_size=20), LARGE)
TENSORS = ("input", "target", "sample_weight", "spec.cross_entropy.weight", "outputs.gradient.grad_output")
UNKNOWN = tag(2047, VARINT) + b"\1" + tag(2046, LENGTH_DELIMITED) + b"\3abc" + tag(2045, FIXED32) + bytes(4)


def tensor_of(request: v1.EvaluateRequest, path: str) -> v1.Tensor:
    message: Message = request
    for name in path.split("."):
        message = getattr(message, name)
    assert isinstance(message, v1.Tensor)
    return message


def request_with(datas: dict[str, bytes]) -> v1.EvaluateRequest:
    request = v1.EvaluateRequest(series="a")
    for path, data in datas.items():
        tensor_of(request, path).MergeFrom(v1.Tensor(dtype=v1.Dtype.DTYPE_UINT8, shape=[len(data)], data=data))
    return request


def put_back(request: v1.EvaluateRequest, payloads: dict[str, memoryview]) -> v1.EvaluateRequest:
    for path, payload in payloads.items():
        tensor = tensor_of(request, path)
        assert not tensor.data
        tensor.data = bytes(payload)
    return request


@given(st.dictionaries(st.sampled_from(TENSORS), DATA), st.booleans())
def test_message_is_what_protobuf_parses(datas, unknown):
    data = request_with(datas).SerializeToString() + (UNKNOWN if unknown else b"")
    request, payloads = parse_apart(v1.EvaluateRequest, data)
    large = {path for path, elements in datas.items() if len(elements) >= LEAST_BYTES}
    assert set(payloads) == (large if len(data) >= LEAST_BYTES else set())
    assert put_back(request, payloads) == parse(v1.EvaluateRequest, data)
    assert request.SerializeToString(deterministic=True) == v1.EvaluateRequest.FromString(data).SerializeToString(
        deterministic=True
    )


@given(st.dictionaries(st.sampled_from(TENSORS), LARGE, min_size=1), st.data())
def test_cut_message_is_refused_or_what_protobuf_parses(datas, data):
    whole = request_with(datas).SerializeToString()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        expected = v1.EvaluateRequest.FromString(cut)
    except DecodeError:
        with pytest.raises((DecodeError, FieldError)):
            parse_apart(v1.EvaluateRequest, cut)
    else:
        assert put_back(*parse_apart(v1.EvaluateRequest, cut)) == expected


@given(st.binary(max_size=40), st.integers(0, 2 * LEAST_BYTES), st.sampled_from([b"", bytes(LEAST_BYTES)]))
def test_any_bytes_are_refused_or_what_protobuf_parses(junk, at, large):
    whole = request_with({"input": large, "target": bytes(LEAST_BYTES)}).SerializeToString()
    data = whole[:at] + junk + whole[at:]
    try:
        request, payloads = parse_apart(v1.EvaluateRequest, data)
    except (DecodeError, FieldError):
        return
    assert put_back(request, payloads) == v1.EvaluateRequest.FromString(data)


def field(number: int, data: bytes) -> bytes:
    return tag(number, LENGTH_DELIMITED) + varint(len(data)) + data


INPUT = v1.EvaluateRequest.DESCRIPTOR.fields_by_name["input"].number
ELEMENTS = v1.Tensor.DESCRIPTOR.fields_by_name["data"].number


@pytest.mark.parametrize("nested", [True, False], ids=["in one tensor", "in two"])
def test_large_data_twice_is_refused(nested):
    large = field(ELEMENTS, bytes(LEAST_BYTES))
    data = field(INPUT, large + large) if nested else field(INPUT, large) + field(INPUT, large)
    with pytest.raises(FieldError, match="input: expected its data once, got it again"):
        parse_apart(v1.EvaluateRequest, data)


def test_parts_of_a_tensor_are_merged():
    dtype = v1.Tensor(dtype=v1.Dtype.DTYPE_UINT8).SerializeToString()
    data = field(INPUT, field(ELEMENTS, bytes(LEAST_BYTES))) + field(INPUT, dtype)
    request, payloads = parse_apart(v1.EvaluateRequest, data)
    assert request.input.dtype == v1.Dtype.DTYPE_UINT8
    assert put_back(request, payloads) == v1.EvaluateRequest.FromString(data)


def test_payloads_are_views():
    data = request_with({"input": bytes(LEAST_BYTES)}).SerializeToString()
    _, payloads = parse_apart(v1.EvaluateRequest, data)
    assert payloads["input"].obj is data


@pytest.mark.parametrize("wire", [VARINT, FIXED64])
def test_data_of_another_wire_type_is_unknown(wire):
    value = varint(5) if wire == VARINT else bytes(8)
    data = field(INPUT, tag(ELEMENTS, wire) + value) + field(2046, bytes(LEAST_BYTES))
    request, payloads = parse_apart(v1.EvaluateRequest, data)
    assert payloads == {}
    assert request == v1.EvaluateRequest.FromString(data)


def test_many_fields_are_refused_before_they_are_parsed():
    data = (tag(2047, VARINT) + b"\1") * 10**6
    with pytest.raises(FieldError, match="at most 1000 fields"):
        parse_apart(v1.EvaluateRequest, data)


@given(st.dictionaries(st.sampled_from(["loss", "probabilities", "gradient"]), DATA))
def test_written_bytes_are_protobufs(datas):
    whole, form = v1.EvaluateResponse(row_count=3), v1.EvaluateResponse(row_count=3)
    parts = []
    for name, data in datas.items():
        tensor = v1.Tensor(dtype=v1.Dtype.DTYPE_UINT8, shape=[len(data)])
        parts.append((name, tensor, memoryview(data)))
        getattr(whole, name).MergeFrom(tensor)
        getattr(whole, name).data = data
    written = write_with(form, parts)
    assert v1.EvaluateResponse.FromString(written) == whole
    assert sorted(written) == sorted(whole.SerializeToString()) or any(not data for data in datas.values())
