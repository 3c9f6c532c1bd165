"""How much memory a request takes, told from its form before anything of it is copied, allocated or looped over."""

import math
from collections.abc import Callable
from typing import Any

import torch
from google.protobuf.message import Message

import ce_engine
from losswire import forms, v1
from losswire.dtypes import BY_WIRE
from losswire.fields import field_of, tensors_in
from losswire.losses import OUTPUTS, REDUCTIONS, WEIGHTINGS, loss_of, options_of
from losswire.payloads import NO_PAYLOADS, Payloads
from losswire_server.requests.heads.named import NO_NAMES, NamedHeads
from losswire_server.requests.runs.exact import Exactness, exactness
from losswire_server.settings.types import CORES

Reserve = Callable[[int], object]  # holds so many bytes more, or raises an error
CLASS_SUMS_BYTES = 3072  # that the exact sums of a class take
ANSWER_COPIES = 2  # tensors, and the message that they are copied to

REDUCTION_NAMES = {wire: name for name, wire in REDUCTIONS.items()}
WEIGHTING_NAMES = {wire: name for name, wire in WEIGHTINGS.items()}
OUTPUT_NAMES = {wire: name for name, wire in OUTPUTS.items()}


def unreserved(size: int) -> None:
    """Holds nothing: for requests so small that their messages stand for them."""


def needed_bytes(request: v1.EvaluateRequest, payloads: Payloads = NO_PAYLOADS, heads: NamedHeads = NO_NAMES) -> int:
    """The most bytes that planning, evaluating and answering a request take at one time, beside its message.

    Args:
        request: It passes `check_request`.
        payloads: Elements that are not in it.
        heads: Those that it names.
    """
    needed = evaluation_bytes(request, exactness(request), heads)
    return _copied_bytes(request, payloads) + max(needed.peak, ANSWER_COPIES * needed.results)


def evaluation_bytes(
    request: v1.EvaluateRequest, exact: Exactness = "", heads: NamedHeads = NO_NAMES
) -> ce_engine.MemoryNeeded:
    """What the engine takes for a request that passes `check_request`, with these exact sums."""
    tensors = {name: _form(form) for name, form in forms.forms_of(request).items()}
    outputs, gradient, options = request.outputs, request.outputs.gradient, options_of(request.spec)
    arguments: dict[str, Any] = {**_options(options), **tensors, **heads}
    return ce_engine.memory_needed(
        loss_of(request.spec),
        arguments.pop("input"),
        arguments.pop("target"),
        reduction=REDUCTION_NAMES[request.spec.reduction],
        grad=outputs.HasField("gradient"),
        grad_dtype=getattr(torch, BY_WIRE[gradient.dtype].name) if gradient.HasField("dtype") else None,
        grad_into=gradient.HasField("destination"),
        outputs=tuple(OUTPUT_NAMES[output] for output in outputs.outputs),
        top_k=outputs.top_k,
        threads=CORES,
        exact=exact,
        **arguments,
    )


def _form(form: forms.Form) -> ce_engine.TensorForm:
    return ce_engine.TensorForm(getattr(torch, form.dtype), form.shape)


def _options(options: Message) -> dict[str, Any]:
    """The options that take memory, but for tensors."""
    found: dict[str, Any] = {}
    for field, value in options.ListFields():
        if field.name == "weighting":
            found["weight"] = WEIGHTING_NAMES[value]
        elif field.name in ("label_smoothing", "z_loss"):
            found[field.name] = value
    return found


def _copied_bytes(request: v1.EvaluateRequest, payloads: Payloads) -> int:
    """Of tensors that are copied before they are read: integers out of shared memory, and what is not aligned."""
    return sum(
        math.prod(tensor.shape) * BY_WIRE[tensor.dtype].itemsize
        for name, tensor in tensors_in(request)
        if _is_copied(tensor, payloads.get(field_of(name, request.spec)))
    )


def _is_copied(tensor: v1.Tensor, payload: memoryview | None) -> bool:
    element = BY_WIRE[tensor.dtype]
    if payload is not None:
        return torch.frombuffer(payload, dtype=torch.uint8).data_ptr() % element.itemsize > 0
    return not (element.floating and tensor.HasField("shared_memory"))
