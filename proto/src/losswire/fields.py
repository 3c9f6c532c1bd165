"""Where the arguments of a loss are in a request, and which argument a field is of."""

from collections.abc import Iterator

from losswire import v1
from losswire.losses import LOSSES, loss_of, options_of

FIELDS = {  # of the arguments that all losses have; the others are in the message of the loss's own options
    "input": "input",
    "target": "target",
    "sample_weight": "sample_weight",
    "reduction": "spec.reduction",
    "empty": "spec.zero_when_empty",
    "outputs": "outputs.outputs",
    "grad": "outputs.gradient",
    "grad_output": "outputs.gradient.grad_output",
    "grad_dtype": "outputs.gradient.dtype",
    "series": "series",
}
OWN_TENSORS = ("weight", "pos_weight")  # among the loss's own options


def field_of(argument: str, spec: v1.LossSpec) -> str:
    """The path of the field that an argument is in, as in ``spec.cross_entropy.weight``."""
    if argument in FIELDS:
        return FIELDS[argument]
    loss = loss_of(spec)
    weighted_by_targets = argument == "weight" and options_of(spec).HasField("weighting")
    return f"spec.{loss}.{'weighting' if weighted_by_targets else argument}"


def argument_of(field: str) -> str:
    """The argument that a field is of: the last name of its path, but for some."""
    if field.startswith("outputs.gradient.destination"):
        return "grad"
    name = field.partition(".shared_memory")[0].rpartition(".")[2]
    return "weight" if name == "weighting" else name


def tensor_in(request: v1.EvaluateRequest, argument: str) -> v1.Tensor:
    """The message of an argument that is a tensor. To look at one that is not set is harmless, to write sets it."""
    if argument in OWN_TENSORS:
        owner = options_of(request.spec)
    else:
        owner = request.outputs.gradient if argument == "grad_output" else request
    tensor: v1.Tensor = getattr(owner, argument)
    return tensor


def tensors_in(request: v1.EvaluateRequest) -> Iterator[tuple[str, v1.Tensor]]:
    """The arguments that are tensors and are set, by their names. The request has a loss."""
    options = options_of(request.spec)
    for name in ("input", "target", "sample_weight"):
        if request.HasField(name):
            yield name, getattr(request, name)
    if request.outputs.gradient.HasField("grad_output"):
        yield "grad_output", request.outputs.gradient.grad_output
    for name in OWN_TENSORS:
        if name in LOSSES[loss_of(request.spec)].options and options.HasField(name):
            yield name, getattr(options, name)
