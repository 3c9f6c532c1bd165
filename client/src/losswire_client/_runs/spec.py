"""The options of a run's loss: from arguments to the contract, and back."""

from collections.abc import Mapping
from typing import Any

from losswire import v1
from losswire.errors import FieldError
from losswire.fields import OWN_TENSORS
from losswire.forms import DEFAULTS
from losswire.losses import LOSSES, REDUCTIONS, loss_of, options_of
from losswire.tensors import decode, encode
from losswire_client._errors import invalid_argument, shown
from losswire_client._request.arrays import floating_array
from losswire_client._request.evaluation import assign_option, check_choice

ARGUMENTS: Mapping[str, Any] = {**dict.fromkeys(OWN_TENSORS), **DEFAULTS}
OPTIONS = frozenset(ARGUMENTS)


def options_of_loss(loss: str) -> dict[str, Any]:
    """The options of a loss that a run may have, with their defaults."""
    check_choice("loss", loss, LOSSES)
    return {name: default for name, default in ARGUMENTS.items() if name in LOSSES[loss].options}


def to_spec(loss: str, options: Mapping[str, Any]) -> v1.LossSpec:
    """The loss with these options.

    Raises:
        InvalidArgumentError: An option is wrong, or depends on the targets of a batch.
    """
    spec = v1.LossSpec(reduction=REDUCTIONS["mean"])
    message = getattr(spec, loss)
    message.SetInParent()
    for name, value in options.items():
        if name not in OWN_TENSORS:
            assign_option(message, name, value)
        elif value is not None:
            _write_tensor(message, name, value)
    return spec


def from_spec(spec: v1.LossSpec) -> dict[str, Any]:
    """The options of a loss."""
    message, options = options_of(spec), options_of_loss(loss_of(spec))
    set_fields = {field.name for field, _ in message.ListFields()}
    for name in options:
        if name in set_fields:
            value = getattr(message, name)
            options[name] = decode(value, name) if name in OWN_TENSORS else value
    return options


def _write_tensor(message: Any, name: str, value: Any) -> None:
    if isinstance(value, str):
        problem = "a run's weights are the same for all of its batches: pass the array"
        raise invalid_argument(name, f"expected an array, got {shown(value)}; {problem}")
    try:
        encode(floating_array(name, value), getattr(message, name), name)
    except FieldError as error:
        raise invalid_argument(name, error.problem) from error
