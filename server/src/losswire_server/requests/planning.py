"""From a request to a slab of the engine's: everything is checked, nothing is computed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from google.protobuf.message import Message

import ce_engine
from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.tensors import FieldError
from losswire_server.requests.check import check_request
from losswire_server.requests.decoding import to_torch

Reader = Callable[[v1.Tensor, str], torch.Tensor]  # of a tensor and the path of its field

REDUCTIONS = {
    v1.Reduction.REDUCTION_NONE: "none",
    v1.Reduction.REDUCTION_MEAN: "mean",
    v1.Reduction.REDUCTION_SUM: "sum",
}
WEIGHTINGS = {
    v1.ClassWeighting.CLASS_WEIGHTING_BALANCED: "balanced",
    v1.ClassWeighting.CLASS_WEIGHTING_COMPLEMENT: "complement",
}
OUTPUTS = {
    v1.Output.OUTPUT_LOG_SUM_EXP: "lse",
    v1.Output.OUTPUT_PROBABILITIES: "probabilities",
    v1.Output.OUTPUT_LOG_PROBABILITIES: "log_probabilities",
    v1.Output.OUTPUT_PREDICTIONS: "predictions",
}
PLANS: dict[str, Callable[..., ce_engine.Slab]] = {  # by the names that they have in LossSpec
    "cross_entropy": ce_engine.slabs.cross_entropy,
    "nll_loss": ce_engine.slabs.nll_loss,
    "binary_cross_entropy": ce_engine.slabs.binary_cross_entropy,
    "binary_cross_entropy_with_logits": ce_engine.slabs.binary_cross_entropy_with_logits,
}
CHECKS: dict[str, Callable[..., object]] = {loss: getattr(ce_engine.checks, loss) for loss in PLANS}
COMMON_FIELDS = {  # where the arguments that all losses have come from; the others are in the loss's own message
    "input": "input",
    "target": "target",
    "reduction": "spec.reduction",
    "sample_weight": "sample_weight",
    "grad": "outputs.gradient",
    "grad_output": "outputs.gradient.grad_output",
    "grad_dtype": "outputs.gradient.dtype",
    "outputs": "outputs.outputs",
    "empty": "spec.zero_when_empty",
}


def plan(request: v1.EvaluateRequest, read: Reader = to_torch) -> ce_engine.Slab:
    """Checks a request.

    Raises:
        FieldError: A field is wrong.
        NotServedError: A field is right, but asks for what this server does not serve.
    """
    check_request(request)
    try:
        return PLANS[loss_of(request.spec)](**arguments(request, read))
    except ce_engine.InvalidArgumentError as error:
        raise _of_field(error, request.spec) from error


def arguments(request: v1.EvaluateRequest, read: Reader) -> dict[str, Any]:
    """The arguments of the engine's function, of a request that passes `check_request`."""
    loss = loss_of(request.spec)
    return {
        "input": read(request.input, "input"),
        "target": read(request.target, "target"),
        "reduction": REDUCTIONS[request.spec.reduction],
        **_own_options(getattr(request.spec, loss), f"spec.{loss}", read),
        **_common_options(request, read),
    }


def loss_of(spec: v1.LossSpec) -> str:
    return spec.WhichOneof("loss") or ""


@contextmanager
def by_field(spec: v1.LossSpec) -> Iterator[None]:
    """Turns errors of the engine's arguments into those of the fields that they come from."""
    try:
        yield
    except ce_engine.InvalidArgumentError as error:
        raise _of_field(error, spec) from error


def _of_field(error: ce_engine.InvalidArgumentError, spec: v1.LossSpec) -> FieldError:
    return FieldError(field_of(error.argument, spec), error.problem)


def field_of(argument: str, spec: v1.LossSpec) -> str:
    """The field that an argument of the engine's comes from."""
    if argument in COMMON_FIELDS:
        return COMMON_FIELDS[argument]
    loss = loss_of(spec)
    weighting = argument == "weight" and getattr(spec, loss).HasField("weighting")
    return f"spec.{loss}.{'weighting' if weighting else argument}"


def _own_options(options: Message, path: str, read: Reader) -> dict[str, Any]:
    """Those of the loss's message that are set; their names are those of the engine's arguments."""
    arguments: dict[str, Any] = {}
    for field, value in options.ListFields():
        if field.name == "weighting":
            arguments["weight"] = WEIGHTINGS[value]
        else:
            arguments[field.name] = read(value, f"{path}.{field.name}") if field.message_type else value
    return arguments


def _common_options(request: v1.EvaluateRequest, read: Reader) -> dict[str, Any]:
    outputs, gradient = request.outputs, request.outputs.gradient
    weighted = request.HasField("sample_weight")
    with_incoming = gradient.HasField("grad_output")
    return {
        "sample_weight": read(request.sample_weight, "sample_weight") if weighted else None,
        "grad": outputs.HasField("gradient"),
        "grad_output": read(gradient.grad_output, COMMON_FIELDS["grad_output"]) if with_incoming else None,
        "grad_dtype": getattr(torch, BY_WIRE[gradient.dtype].name) if gradient.HasField("dtype") else None,
        "outputs": [OUTPUTS[output] for output in outputs.outputs],
        "empty": "zero" if request.spec.zero_when_empty else "nan",
    }
