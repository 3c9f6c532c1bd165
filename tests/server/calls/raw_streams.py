"""Streams message by message, as any caller could write them. Their answers are compared to one message's answer."""

import math
import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.fields import ROW_TENSORS
from losswire.frames import REQUESTS, RESPONSES, SlabFrame
from losswire.losses import LOSSES, RESULT_TENSORS
from losswire.tensors import decode, encode
from losswire.v1 import loss_service_pb2_grpc
from losswire_server import Server
from tests.helpers import call_of

PATH = "/losswire.v1.LossService/EvaluateStream"
METHOD = {"grpc_type": "bidi_stream", "grpc_service": "losswire.v1.LossService", "grpc_method": "EvaluateStream"}
TOP = {tensor.field for tensor in RESULT_TENSORS if tensor.width == "top"}


@contextmanager
def connection(server: Server) -> Iterator[grpc.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
        yield channel


def stream_call(channel: grpc.Channel) -> "grpc.StreamStreamMultiCallable[bytes, bytes]":
    return channel.stream_stream(PATH)


def slab_frame(message: bytes) -> SlabFrame:
    frame = REQUESTS.read(message)
    assert isinstance(frame, SlabFrame)
    return frame


class RawStream:
    """A stream whose messages are sent and read when the test says so."""

    def __init__(self, channel: grpc.Channel, timeout: float | None = 30) -> None:
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.call: Any = stream_call(channel)(iter(self._messages.get, None), timeout=timeout)

    def send(self, *messages: bytes) -> "RawStream":
        for message in messages:
            self._messages.put(message)
        return self

    def end(self) -> "RawStream":
        self._messages.put(None)
        return self

    def read(self) -> SlabFrame | v1.EvaluateResponse:
        return RESPONSES.read(next(self.call))

    def close(self) -> None:
        self.call.cancel()
        self.end()

    def error(self) -> grpc.RpcError:
        """The error with which the stream ends, after any results."""
        try:
            came = [RESPONSES.read(message) for message in self.call]
        except grpc.RpcError as error:
            self.end()
            return error
        raise AssertionError(f"it was not refused, but answered with {came}")


def answers(channel: grpc.Channel, messages: Iterable[bytes]) -> list[SlabFrame | v1.EvaluateResponse]:
    return [RESPONSES.read(answer) for answer in stream_call(channel)(iter(messages), timeout=30)]


def violation(error: grpc.RpcError) -> str:
    """The field that an error names, and the error's text about it."""
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in rpc_status.from_call(call_of(error)).details)
    (violation,) = bad.field_violations
    return f"{violation.field}: {violation.description}"


def tensor(array: np.ndarray | list[Any]) -> v1.Tensor:
    message = v1.Tensor()
    encode(np.asarray(array), message, "tensor")
    return message


class Batch:
    """A request with all of its elements, and the messages of a stream that carries it.

    Args:
        request: The request, as for `Evaluate`.
        loss: The loss of the request.
        fields: Fields of the loss's options, `reduction`, `divisor`, `outputs`, and tensors with numbers for each row.
    """

    def __init__(self, input: np.ndarray, target: np.ndarray, loss: str = "cross_entropy", **fields: Any) -> None:
        reduction = fields.pop("reduction", v1.Reduction.REDUCTION_NONE)
        by_rows = {name: fields.pop(name) for name in ROW_TENSORS if name in fields}
        divisor, self.outputs = fields.pop("divisor", None), fields.pop("outputs", v1.OutputSpec())
        self.request = v1.EvaluateRequest(input=tensor(input), target=tensor(target), outputs=self.outputs)
        of_loss: dict[str, Any] = {loss: fields}
        self.request.spec.MergeFrom(v1.LossSpec(reduction=reduction, **of_loss))
        self.request.spec.MergeFrom(v1.LossSpec(divisor=divisor))
        for name, array in by_rows.items():
            getattr(self.request, name).CopyFrom(tensor(array))
        self.loss = loss
        self._arrays: dict[str, np.ndarray] = {}
        self.layout = LOSSES[loss].layout(input.shape)
        present = {field.name for field, _ in self.request.ListFields()}
        self.open = [name for name in ("target", *ROW_TENSORS, "input") if name in present]

    def message_of(self, name: str, request: v1.EvaluateRequest | None = None) -> v1.Tensor:
        request = request or self.request
        if name == "grad_output":
            return request.outputs.gradient.grad_output
        message: v1.Tensor = getattr(getattr(request.spec, self.loss) if name == "weight" else request, name)
        return message

    def header(self, **changes: Any) -> bytes:
        header = v1.EvaluateRequest()
        header.CopyFrom(self.request)
        for name in self.open:
            self.message_of(name, header).ClearField("data")
        header.MergeFrom(v1.EvaluateRequest(**changes))
        return v1.EvaluateStreamRequest(header=header).SerializeToString()

    def slab(self, first: int, count: int, *names: str) -> bytes:
        """A slab with the rows of these tensors, or of all tensors that are still open."""
        payloads = {name: memoryview(self.elements(name, first, count)) for name in names or self.open}
        return REQUESTS.write(first, count, payloads)

    def elements(self, name: str, first: int, count: int) -> bytes:
        if name not in self._arrays:
            self._arrays[name] = decode(self.message_of(name), name)
        return self._cut(name, self._arrays[name], first, count).tobytes()

    def slabs(self, rows: int, *names: str) -> list[bytes]:
        return [self.slab(slab.first_row, slab.row_count, *names) for slab in self.layout.slabs(rows)]

    def _cut(self, name: str, array: np.ndarray, first: int, count: int) -> np.ndarray:
        """A view of some rows of a tensor of that name."""
        layout = self.layout
        if layout.elementwise or array.shape == layout.row_shape or array.size == 1:
            return array.reshape(-1)[first : first + count]
        if layout.classes_last or name in TOP:
            return array.reshape(layout.row_count, array.shape[-1])[first : first + count]
        by_samples = array.reshape(layout.samples, -1, layout.positions)
        sample, position = divmod(first, layout.positions)
        samples = max(1, count // layout.positions)
        return by_samples[sample : sample + samples, :, position : position + min(count, layout.positions)]

    def check(self, channel: grpc.Channel, answers: Iterable[Any]) -> None:
        """Checks that a stream answered with the bits of one message."""
        *slabs, summary = answers
        whole: Any = loss_service_pb2_grpc.LossServiceStub(channel).Evaluate(self.request)
        self._check_rows(slabs)
        for name in (each.field for each in RESULT_TENSORS):
            assert whole.HasField(name) == summary.HasField(name)
            message, expected = getattr(summary, name), getattr(whole, name)
            if whole.HasField(name) and not message.WhichOneof("storage"):
                message.data = self._together(name, expected, slabs)
        assert str(summary) == str(whole)  # as text, NaN equals NaN

    def _check_rows(self, slabs: Iterable[SlabFrame]) -> None:
        next_row = 0
        for slab in slabs:
            assert slab.first_row == next_row
            next_row += slab.row_count
        assert next_row in (0, self.layout.row_count)

    def _together(self, name: str, message: v1.Tensor, slabs: Iterable[SlabFrame]) -> bytes:
        shape, dtype = tuple(message.shape), BY_WIRE[message.dtype].numpy
        array = np.zeros(shape, dtype)
        for slab in slabs:
            part = self._cut(name, array, slab.first_row, slab.row_count)  # a view of it
            part[...] = np.frombuffer(slab.payloads[name], dtype).reshape(part.shape)
        assert math.prod(shape) * dtype.itemsize == len(message.data)
        return array.tobytes()
