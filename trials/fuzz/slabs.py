"""Requests cut into the messages of a stream, and put together again."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.fields import ROW_TENSORS, TENSORS_OF, tensor_in, tensors_in
from losswire.frames import REQUESTS, SlabFrame
from losswire.losses import LOSSES, RESULT_TENSORS, loss_of
from losswire.rows import RowLayout, SlabRows

Array = np.ndarray[Any, Any]

BY_ROWS = ("target", *ROW_TENSORS, "weight", "grad_output", "input")  # fields of a slab


def layout_of(request: v1.EvaluateRequest) -> RowLayout:
    return LOSSES[loss_of(request.spec)].layout(tuple(request.input.shape))


def opened(request: v1.EvaluateRequest, rng: random.Random) -> v1.EvaluateRequest:
    """The header of a request: without the elements of its input, and sometimes of others that may come in slabs."""
    header = v1.EvaluateRequest()
    header.CopyFrom(request)
    for name in _may_be_open(request):
        if name == "input" or rng.random() < 0.5:
            tensor_in(header, name).ClearField("data")
    return header


def _may_be_open(request: v1.EvaluateRequest) -> list[str]:
    tensors = dict(tensors_in(request))
    names = ["input", "target", *(name for name in ROW_TENSORS if name in tensors)]
    gradient, loss = request.outputs.gradient, loss_of(request.spec)
    if gradient.HasField("grad_output") and request.spec.reduction == v1.Reduction.REDUCTION_NONE:
        names.append("grad_output")
    weight = getattr(getattr(request.spec, loss), "weight", None) if "weight" in TENSORS_OF[loss] else None
    if LOSSES[loss].elementwise and weight is not None and weight.shape == request.input.shape and weight.data:
        names.append("weight")
    return names


def messages_of(request: v1.EvaluateRequest, rows: int, rng: random.Random) -> list[bytes]:
    """The messages of a stream that carries a right request, in slabs of at most so many rows."""
    header, layout = opened(request, rng), layout_of(request)
    open_names = [name for name in _may_be_open(request) if not tensor_in(header, name).data]
    ahead = [name for name in open_names if name == "target" and rng.random() < 0.7]
    beside = [name for name in BY_ROWS if name in open_names and name not in ahead]
    messages = [v1.EvaluateStreamRequest(header=header).SerializeToString()]
    for names in (ahead, beside):
        if names:
            messages += [_slab(request, layout, slab, names) for slab in layout.slabs(rows)]
    return messages


def _slab(request: v1.EvaluateRequest, layout: RowLayout, slab: SlabRows, names: Sequence[str]) -> bytes:
    parts = {name: part_of(_raw(tensor_in(request, name)), layout, slab).tobytes() for name in names}
    return REQUESTS.write(slab.first_row, slab.row_count, {name: memoryview(part) for name, part in parts.items()})


def _raw(tensor: v1.Tensor) -> Array:  # (..., bytes of an element)
    itemsize = BY_WIRE[tensor.dtype].itemsize
    return np.frombuffer(tensor.data, np.uint8).reshape(*tensor.shape, itemsize)


def part_of(array: Array, layout: RowLayout, slab: SlabRows) -> Array:
    """A view of the elements of a slab's rows."""
    if layout.elementwise or layout.classes_last or array.shape[:-1] != layout.shape:
        return array.reshape(layout.row_count, -1)[slab.first_row : slab.end_row]
    by_samples = array.reshape(layout.samples, layout.classes, layout.positions, array.shape[-1])
    sample, position = divmod(slab.first_row, layout.positions)
    samples, count = max(1, slab.row_count // layout.positions), min(slab.row_count, layout.positions)
    return by_samples[sample : sample + samples, :, position : position + count]


def whole(header: v1.EvaluateRequest, frames: Iterable[SlabFrame]) -> v1.EvaluateRequest:
    """The request that a header and all slabs of a stream carry together."""
    request = v1.EvaluateRequest()
    request.CopyFrom(header)
    _put_together(
        frames, layout_of(header), {name: tensor_in(request, name) for name in BY_ROWS if _has(request, name)}
    )
    return request


def _has(request: v1.EvaluateRequest, name: str) -> bool:
    return name != "weight" or "weight" in TENSORS_OF[loss_of(request.spec)]


def with_results(summary: v1.EvaluateResponse, frames: Sequence[SlabFrame], layout: RowLayout) -> v1.EvaluateResponse:
    """The answer that a summary and all slabs of results carry together."""
    fields = [each.field for each in RESULT_TENSORS if summary.HasField(each.field)]
    _put_together(frames, layout, {field: getattr(summary, field) for field in fields})
    return summary


def _put_together(frames: Iterable[SlabFrame], layout: RowLayout, tensors: dict[str, v1.Tensor]) -> None:
    arrays: dict[str, Array] = {}
    for frame in frames:
        for name, payload in frame.payloads.items():
            tensor = tensors[name]
            if name not in arrays:
                arrays[name] = np.zeros((*tensor.shape, BY_WIRE[tensor.dtype].itemsize), np.uint8)
            part = part_of(arrays[name], layout, layout.slab_rows(frame.first_row, frame.row_count))
            part[...] = np.frombuffer(payload, np.uint8).reshape(part.shape)
    for name, array in arrays.items():
        tensors[name].data = array.tobytes()
