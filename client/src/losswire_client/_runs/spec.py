"""The options of a run's loss: from arguments to the contract, and back."""

from collections.abc import Mapping
from typing import Any

from losswire import v1
from losswire.errors import FieldError
from losswire.fields import OWN_TENSORS
from losswire.forms import DEFAULTS
from losswire.losses import HEADS, LOSSES, REDUCTIONS, loss_of, options_of
from losswire.tensors import decode, encode
from losswire_client._errors import invalid_argument, shown
from losswire_client._request.arrays import floating_array
from losswire_client._request.fields import MAY_BE_NONE, assign_option, check_choice, option_of
from losswire_client._request.head import Head, named_head

Heads = Mapping[str, Head]  # by their digests

ARGUMENTS: Mapping[str, Any] = {  # with their defaults
    **dict.fromkeys(OWN_TENSORS),
    **DEFAULTS,
    **dict.fromkeys((*HEADS, *MAY_BE_NONE)),
    "divergence": "forward",
}
OPTIONS = frozenset(ARGUMENTS)


def options_of_loss(loss: str) -> dict[str, Any]:
    """The options of a loss that a run may have, with their defaults."""
    check_choice("loss", loss, LOSSES)
    return {name: default for name, default in ARGUMENTS.items() if name in LOSSES[loss].options}


def to_spec(loss: str, options: Mapping[str, Any]) -> tuple[v1.LossSpec, Heads]:
    """The loss with these options, and the heads among them that were handed in themselves, by their digests.

    Raises:
        InvalidArgumentError: An option is wrong, or depends on the targets of a batch.
    """
    spec = v1.LossSpec(reduction=REDUCTIONS["mean"])
    message = getattr(spec, loss)
    message.SetInParent()
    heads: dict[str, Head] = {}
    for name, value in options.items():
        if name in HEADS:
            _name_head(message, name, value, heads)
        elif name not in OWN_TENSORS:
            assign_option(message, name, value)
        elif value is not None:
            _write_tensor(message, name, value)
    return spec, heads


def from_spec(spec: v1.LossSpec) -> dict[str, Any]:
    """The options of a loss."""
    message, options = options_of(spec), options_of_loss(loss_of(spec))
    set_fields = {field.name for field, _ in message.ListFields()}
    for name in options:
        if name in set_fields:
            value = getattr(message, name)
            options[name] = decode(value, name) if name in OWN_TENSORS else option_of(name, value)
    return options


def _name_head(message: Any, name: str, value: Any, heads: dict[str, Head]) -> None:
    if value is None and not isinstance(message, v1.LinearCrossEntropy):
        return
    known, head = named_head(name, value)
    setattr(message, name, known)
    if head is not None:
        heads[known] = head


def _write_tensor(message: Any, name: str, value: Any) -> None:
    if isinstance(value, str):
        problem = "a run's weights are the same for all of its batches: pass the array"
        raise invalid_argument(name, f"expected an array, got {shown(value)}; {problem}")
    try:
        encode(floating_array(name, value), getattr(message, name), name)
    except FieldError as error:
        raise invalid_argument(name, error.problem) from error
