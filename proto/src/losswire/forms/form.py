"""Tensors without their elements."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from losswire import v1
from losswire.dtypes import FLOATING, INTEGERS
from losswire.errors import FieldError
from losswire.fields import field_of, tensors_in
from losswire.forms.subject import check_enum
from losswire.losses import LOSSES, loss_of
from losswire.tensors import read_form

DEFAULTS: Mapping[str, Any] = {  # of options that are unset
    "ignore_index": -100,
    "label_smoothing": 0.0,
    "z_loss": 0.0,
    "beta": 0.5,
    "temperature": 1.0,
}

Shape = tuple[int, ...]


class Form(NamedTuple):
    """A tensor without its elements.

    Attributes:
        dtype: Its name in the contract's table of element types, or any other name if the table lacks it.
        shape: Lengths of its dimensions.
    """

    dtype: str
    shape: Shape

    @property
    def is_floating(self) -> bool:
        return self.dtype in FLOATING

    @property
    def is_integer(self) -> bool:
        return self.dtype in INTEGERS


def forms_of(request: v1.EvaluateRequest) -> dict[str, Form]:
    """The forms of the tensors of a received request, by the names of their arguments.

    Raises:
        FieldError: The request has no loss or no reduction, or a tensor's dtype or shape is invalid.
    """
    spec = request.spec
    _check_spec(spec)
    forms = {}
    for argument, tensor in tensors_in(request):
        element, shape = read_form(tensor, field_of(argument, spec))
        forms[argument] = Form(element.name, shape)
    return forms


def _check_spec(spec: v1.LossSpec) -> None:
    check_enum("spec.reduction", spec.reduction, v1.Reduction.DESCRIPTOR)
    if loss_of(spec) not in LOSSES:
        raise FieldError("spec.loss", f"expected one of {', '.join(LOSSES)}, got nothing")
