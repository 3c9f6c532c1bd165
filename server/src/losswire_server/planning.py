"""From a request to a slab of the engine's: everything is checked, nothing is computed."""

from collections.abc import Callable
from typing import Any

import torch
from google.protobuf.message import Message

import ce_engine
from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.tensors import FieldError
from losswire_server.decoding import to_torch
from losswire_server.regions import OFF, Regions
from losswire_server.request_check import check_request

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


def plan(request: v1.EvaluateRequest, regions: Regions = OFF) -> ce_engine.Slab:
    """Checks a request.

    Raises:
        FieldError: A field is wrong.
        NotServedError: A field is right, but asks for what this server does not serve.
    """
    check_request(request)
    loss = request.spec.WhichOneof("loss") or ""
    try:
        return PLANS[loss](
            to_torch(request.input, "input", regions),
            to_torch(request.target, "target", regions),
            reduction=REDUCTIONS[request.spec.reduction],
            **_own_options(getattr(request.spec, loss), f"spec.{loss}", regions),
            **_common_options(request, regions),
        )
    except ce_engine.InvalidArgumentError as error:
        raise FieldError(field_of(error.argument, request.spec), error.problem) from error


def field_of(argument: str, spec: v1.LossSpec) -> str:
    """The field that an argument of the engine's comes from."""
    if argument in COMMON_FIELDS:
        return COMMON_FIELDS[argument]
    loss = spec.WhichOneof("loss") or ""
    weighting = argument == "weight" and getattr(spec, loss).HasField("weighting")
    return f"spec.{loss}.{'weighting' if weighting else argument}"


def _own_options(options: Message, path: str, regions: Regions) -> dict[str, Any]:
    """Those of the loss's message that are set; their names are those of the engine's arguments."""
    arguments: dict[str, Any] = {}
    for field, value in options.ListFields():
        if field.name == "weighting":
            arguments["weight"] = WEIGHTINGS[value]
        else:
            is_tensor = field.message_type is not None
            arguments[field.name] = to_torch(value, f"{path}.{field.name}", regions) if is_tensor else value
    return arguments


def _common_options(request: v1.EvaluateRequest, regions: Regions) -> dict[str, Any]:
    outputs, gradient = request.outputs, request.outputs.gradient
    weighted = request.HasField("sample_weight")
    with_incoming = gradient.HasField("grad_output")
    incoming = to_torch(gradient.grad_output, COMMON_FIELDS["grad_output"], regions) if with_incoming else None
    return {
        "sample_weight": to_torch(request.sample_weight, "sample_weight", regions) if weighted else None,
        "grad": outputs.HasField("gradient"),
        "grad_output": incoming,
        "grad_dtype": getattr(torch, BY_WIRE[gradient.dtype].name) if gradient.HasField("dtype") else None,
        "outputs": [OUTPUTS[output] for output in outputs.outputs],
        "empty": "zero" if request.spec.zero_when_empty else "nan",
    }
