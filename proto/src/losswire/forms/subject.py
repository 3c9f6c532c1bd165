"""What is checked: a request with the forms of its tensors."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.protobuf.descriptor import EnumDescriptor

from losswire import v1
from losswire.dtypes import FLOATING
from losswire.errors import FieldError
from losswire.fields import field_of
from losswire.losses import LOSSES, heads_of, loss_of, options_of
from losswire.rows import row_shape

if TYPE_CHECKING:
    from losswire.forms.form import Form, Shape


class Subject:
    """A request to be checked, with the values that several rules use."""

    def __init__(self, request: v1.EvaluateRequest, forms: "Mapping[str, Form]") -> None:
        self.request = request
        self.forms = forms
        self.kind = LOSSES[loss_of(request.spec)]
        self.options = options_of(request.spec)
        self.heads = heads_of(request.spec)
        self.shape = forms["input"].shape

    @property
    def row_shape(self) -> "Shape":
        return self.shape if self.kind.elementwise else row_shape(self.shape, last=self.kind.classes_last)

    @property
    def has_probability_targets(self) -> bool:
        return self.kind.name in ("cross_entropy", "linear_cross_entropy") and self.forms["target"].is_floating

    def refuse(self, argument: str, problem: str) -> FieldError:
        return FieldError(field_of(argument, self.request.spec), problem)

    def check_floating(self, argument: str) -> "Form":
        form = self.forms[argument]
        if not form.is_floating:
            raise self.refuse(argument, f"expected one of the dtypes {', '.join(FLOATING)}, got {form.dtype}")
        return form

    def check_integer(self, argument: str, what: str) -> "Form":
        form = self.forms[argument]
        if not form.is_integer:
            raise self.refuse(argument, f"expected {what} of an integer dtype, got {form.dtype}")
        return form

    def check_shape(self, argument: str, shape: "Shape", whose: str) -> None:
        form = self.check_floating(argument)
        if form.shape != shape:
            raise self.refuse(argument, f"expected {whose} shape {shape}, got {form.shape}")

    def check_broadcasts(self, argument: str) -> None:
        form, shape = self.check_floating(argument), self.shape
        sizes = zip(reversed(form.shape), reversed(shape), strict=False)
        if len(form.shape) > len(shape) or any(size not in (1, wanted) for size, wanted in sizes):
            problem = f"expected a shape that broadcasts to the input's {shape}, got {form.shape}"
            raise self.refuse(argument, problem)


def check_enum(field: str, value: int, enum: EnumDescriptor) -> None:
    """Checks that a number names a value of an enum, and not that nothing was set.

    Raises:
        FieldError: It does not.
    """
    known = enum.values_by_number
    if value == 0 or value not in known:
        names = ", ".join(known[number].name for number in sorted(known) if number)
        came = known[value].name if value in known else f"number {value}"
        raise FieldError(field, f"expected one of {names}, got {came}")
