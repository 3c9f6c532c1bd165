"""From a request to a slab for the engine: everything is checked, nothing is computed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from google.protobuf.message import Message

import ce_engine
from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.errors import FieldError
from losswire.fields import FIELDS, field_of, tensors_in
from losswire.losses import DIVERGENCES, LOSSES, TAILS, loss_of, options_of
from losswire.monitoring.buckets import ROW_LOSSES
from losswire_server.heads.absent import NO_HEADS, UsesHeads
from losswire_server.requests.check import check_request, check_summed_classes
from losswire_server.requests.decoding import to_torch
from losswire_server.requests.heads.named import NO_NAMES, NamedHeads, classes_of, use_heads
from losswire_server.requests.needed import OUTPUT_NAMES, REDUCTION_NAMES, WEIGHTING_NAMES
from losswire_server.requests.runs.exact import Exactness

Reader = Callable[[v1.Tensor, str], torch.Tensor]  # of a tensor and the path of its field

PLANS: dict[str, Callable[..., ce_engine.Slab]] = {loss: getattr(ce_engine.slabs, loss) for loss in LOSSES}

NAMES: Mapping[str, Mapping[int, str]] = {  # of the engine, by the contract's numbers
    "divergence": {wire: name for name, wire in DIVERGENCES.items()},
    "tail": {wire: name for name, wire in TAILS.items()},
}


def nothing_to_prepare(heads: NamedHeads) -> None:
    """For a request for which nothing is reserved."""


def plan(
    request: v1.EvaluateRequest,
    read: Reader = to_torch,
    prepare: Callable[[NamedHeads], object] = nothing_to_prepare,
    held: UsesHeads = NO_HEADS,
) -> ce_engine.Slab:
    """Checks a request.

    Args:
        request: It may lack the elements of tensors that `read` knows.
        read: Reads its tensors.
        prepare: Is called with the heads that it names once the form is right, before anything is read, copied or
            allocated.
        held: The heads of the server. The request names them by their digests from then on.

    Raises:
        FieldError: A field is wrong.
        NotServedError: A field is right, but asks for what this server does not serve.
        HeadNotFoundError: A head is not held here.
        Exception: Of `prepare`.
    """
    heads = checked(request, held)
    prepare(heads)
    with by_field(request.spec):
        return PLANS[loss_of(request.spec)](**arguments(request, read, heads))


def checked(request: v1.EvaluateRequest, held: UsesHeads = NO_HEADS) -> NamedHeads:
    """Checks everything in a request except the elements of its tensors. Returns the heads that it names.

    Raises:
        Exception: See `plan`.
    """
    check_request(request)
    heads = use_heads(request.spec, held)
    if heads:
        check_summed_classes(request, classes_of(request, heads))
    return heads


def summing(slab: ce_engine.Slab, exact: Exactness = "") -> ce_engine.Slab:
    """The same slab, whose result tells the metrics what the losses of its rows are like, and may have exact sums."""
    slab.tally_bounds = ROW_LOSSES
    slab.exact = exact
    return slab


def arguments(request: v1.EvaluateRequest, read: Reader, heads: NamedHeads = NO_NAMES) -> dict[str, Any]:
    """The arguments of the engine's function, for a request that passes `check_request`."""
    return {
        "input": read(request.input, "input"),
        "target": read(request.target, "target"),
        "reduction": REDUCTION_NAMES[request.spec.reduction],
        **_own_options(options_of(request.spec), f"spec.{loss_of(request.spec)}", read),
        **_tensors_of_rows(request, read),
        **_common_options(request, read),
        "checked": not heads,  # by `check_request`, which knows no heads
        **heads,
    }


@contextmanager
def by_field(spec: v1.LossSpec) -> Iterator[None]:
    """Turns errors of the engine's arguments into errors of the fields that they come from."""
    try:
        yield
    except ce_engine.InvalidArgumentError as error:
        raise FieldError(field_of(error.argument, spec), error.problem) from error


def _own_options(options: Message, path: str, read: Reader) -> dict[str, Any]:
    """The options that the loss's message sets, by the names of the engine's arguments."""
    arguments: dict[str, Any] = {}
    for field, value in options.ListFields():
        if field.name == "weighting":
            arguments["weight"] = WEIGHTING_NAMES[value]
        elif field.name in NAMES:
            arguments[field.name] = NAMES[field.name][value]
        else:
            arguments[field.name] = read(value, f"{path}.{field.name}") if field.message_type else value
    return arguments


def _tensors_of_rows(request: v1.EvaluateRequest, read: Reader) -> dict[str, Any]:
    """Those that only some losses have."""
    return {name: read(tensor, name) for name, tensor in tensors_in(request) if name in ("target_classes", "labels")}


def _common_options(request: v1.EvaluateRequest, read: Reader) -> dict[str, Any]:
    outputs, gradient = request.outputs, request.outputs.gradient
    weighted = request.HasField("sample_weight")
    with_incoming = gradient.HasField("grad_output")
    return {
        "sample_weight": read(request.sample_weight, FIELDS["sample_weight"]) if weighted else None,
        "grad": outputs.HasField("gradient"),
        "grad_output": read(gradient.grad_output, FIELDS["grad_output"]) if with_incoming else None,
        "grad_dtype": getattr(torch, BY_WIRE[gradient.dtype].name) if gradient.HasField("dtype") else None,
        "outputs": tuple(OUTPUT_NAMES[output] for output in outputs.outputs),
        "top_k": outputs.top_k,
        "divisor": request.spec.divisor if request.spec.HasField("divisor") else None,
        "empty": "zero" if request.spec.zero_when_empty else "nan",
    }
