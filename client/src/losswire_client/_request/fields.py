"""Sets fields of messages to what callers hand in, which may be anything."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from losswire import v1
from losswire.forms import DEFAULTS
from losswire.losses import DIVERGENCES, REDUCTIONS, TAILS
from losswire_client._errors import InvalidArgumentError, invalid_argument, shown

NUMBER = "a number of 64 bits"
EXPECTED = {
    FieldDescriptor.TYPE_INT64: "an integer of 64 bits",
    FieldDescriptor.TYPE_DOUBLE: NUMBER,
    FieldDescriptor.TYPE_STRING: "a text",
}
CHOICES: Mapping[str, Mapping[str, int]] = {"divergence": DIVERGENCES, "tail": TAILS}  # options that have a name
MAY_BE_NONE = ("tail", "beta")


def assign(message: Message, argument: str, value: object, expected: str) -> None:
    """Sets the field that has the argument's name."""
    assign_to(message, argument, argument, value, expected)


def assign_to(message: Message, field: str, argument: str, value: object, expected: str) -> None:
    """Sets a field of a number or a text. Protobuf would take True as the number 1."""
    if isinstance(value, bool | np.bool_):
        raise invalid_argument(argument, f"expected {expected}, got {shown(value)}")
    try:
        setattr(message, field, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid_argument(argument, f"expected {expected}, got {shown(value)}") from error


def assign_text(message: Message, argument: str, value: object) -> None:
    """Sets the field that has the argument's name, where protobuf would take bytes as a text too."""
    if not isinstance(value, str):
        raise invalid_argument(argument, f"expected a text, got {shown(value)}")
    assign(message, argument, value, "a text")


def assign_option(options: Message, name: str, value: object) -> None:
    """Sets one of a loss's own options that is no tensor, unless it is None, which stands for none where it may."""
    field = options.DESCRIPTOR.fields_by_name[name]
    if value is None and name in MAY_BE_NONE:
        return
    if name == "ignore_index" and isinstance(options, v1.KlDivergence) and _is_usual(value):
        return  # without labels it would be refused
    if name in CHOICES:
        check_choice(name, value, CHOICES[name])
        setattr(options, name, CHOICES[name][str(value)])
    else:
        assign(options, name, value, EXPECTED[field.type])


def option_of(name: str, value: Any) -> Any:
    """An option as a caller hands it in, from the value of its field."""
    if name not in CHOICES:
        return value
    return next(choice for choice, number in CHOICES[name].items() if number == value)


def ignore_index_of(options: Any) -> int:
    """The target, or the label, of rows that do not count."""
    name = "ignore_index"
    if name not in options.DESCRIPTOR.fields_by_name or not options.HasField(name):
        return int(DEFAULTS[name])
    return int(options.ignore_index)


def _is_usual(ignore_index: object) -> bool:
    return isinstance(ignore_index, int) and ignore_index == DEFAULTS["ignore_index"]


def check_reduction(reduction: object) -> None:
    """Checks that there is such a reduction, and tells what does as PyTorch's ``batchmean``."""
    try:
        check_choice("reduction", reduction, REDUCTIONS)
    except InvalidArgumentError as error:
        if isinstance(reduction, str) and reduction == "batchmean":
            error.hint = "'mean' divides by rows, and with divisor=len(input) by samples"
        raise


def check_choice(argument: str, value: object, choices: Collection[object]) -> None:
    # The type must match too: an array compares element by element, and 1 equals True.
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return
    raise invalid_argument(argument, f"expected one of {', '.join(map(repr, choices))}, got {shown(value)}")
