"""Maps the arguments of a loss to the fields of a request, and fields to arguments."""

from losswire import v1
from losswire.losses import LOSSES, loss_of, options_of

FIELDS = {  # of arguments that all losses have; other arguments are fields of the loss's own message
    "input": "input",
    "target": "target",
    "sample_weight": "sample_weight",
    "target_classes": "target_classes",
    "labels": "labels",
    "reduction": "spec.reduction",
    "empty": "spec.zero_when_empty",
    "divisor": "spec.divisor",
    "outputs": "outputs.outputs",
    "top_k": "outputs.top_k",
    "grad": "outputs.gradient",
    "grad_output": "outputs.gradient.grad_output",
    "grad_dtype": "outputs.gradient.dtype",
    "series": "series",
    "exact": "exact",
    "run": "run_key.run",
    "key": "run_key.key",
    "slice": "run_key.slice",
}
OWN_TENSORS = ("weight", "pos_weight")  # among the loss's own options
ROW_TENSORS = ("sample_weight", "target_classes", "labels")  # of the request, beside its input and target
ARGUMENTS = {  # by the names of fields that differ from theirs
    "weighting": "weight",
    "name_prefix": "prefix",
    "interval_seconds": "interval",
    "expected_key_count": "expected_keys",
    "expected": "keys",
    "key_count": "count",
}


def field_of(argument: str, spec: v1.LossSpec) -> str:
    """The path of the field that an argument is in, as in ``spec.cross_entropy.weight``."""
    if argument in FIELDS:
        return FIELDS[argument]
    loss = loss_of(spec)
    weighted_by_targets = argument == "weight" and options_of(spec).HasField("weighting")
    return f"spec.{loss}.{'weighting' if weighted_by_targets else argument}"


def argument_of(field: str) -> str:
    """The argument that a field belongs to: the last name of its path, with a few exceptions."""
    if field.startswith("outputs.gradient.destination"):
        return "grad"
    if field == "exact.by_class":
        return "exact"
    name = field.partition(".shared_memory")[0].rpartition(".")[2]
    return ARGUMENTS.get(name, name)


def tensor_in(request: v1.EvaluateRequest, argument: str) -> v1.Tensor:
    """The message of an argument that is a tensor. Reading an unset message is harmless; writing to it sets it."""
    if argument in OWN_TENSORS:
        owner = options_of(request.spec)
    else:
        owner = request.outputs.gradient if argument == "grad_output" else request
    tensor: v1.Tensor = getattr(owner, argument)
    return tensor


def tensors_in(request: v1.EvaluateRequest) -> list[tuple[str, v1.Tensor]]:
    """The tensors that are set, with the names of their arguments. The request must have a loss."""
    options, gradient = options_of(request.spec), request.outputs.gradient
    owners = {
        **dict.fromkeys(ROW_TENSORS, request),
        "grad_output": gradient,
        **dict.fromkeys(TENSORS_OF[loss_of(request.spec)], options),
    }
    found = [("input", request.input), ("target", request.target)]
    return found + [(name, getattr(owner, name)) for name, owner in owners.items() if owner.HasField(name)]


TENSORS_OF = {loss: [name for name in OWN_TENSORS if name in kind.options] for loss, kind in LOSSES.items()}
