"""The rules for dtypes, shapes and options. The SDK applies them before it sends, the server before it evaluates.

The rules do not read elements: only the engine checks whether a target is a class, or a number a probability.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf.descriptor import EnumDescriptor

from losswire import v1
from losswire.dtypes import BY_WIRE, FLOATING, INTEGERS
from losswire.errors import FieldError
from losswire.fields import field_of, tensors_in
from losswire.losses import LOSSES, is_weighted_by_targets, loss_of, options_of
from losswire.rows import class_count, row_shape
from losswire.tensors import read_form

MAX_SHOWN = 100  # characters of a wrong name
SERIES = re.compile(r"[A-Za-z0-9_.:/-]{0,64}")

DEFAULTS: Mapping[str, Any] = {"ignore_index": -100, "label_smoothing": 0.0}  # of options that are unset

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


def check(request: v1.EvaluateRequest, forms: Mapping[str, Form]) -> None:
    """Checks the dtypes, shapes and options of a request.

    Args:
        request: It has a loss and a reduction. Tensors in it are not read.
        forms: The forms of its tensors, by the names of their arguments, including ``input`` and ``target``.

    Raises:
        FieldError: A field is wrong. If several are, the error is for the first in the order of `RULES`.
    """
    subject = _Subject(request, forms)
    for rule in RULES_OF[subject.kind.name]:
        rule(subject)


def needs_all_targets(request: v1.EvaluateRequest, target_dtype: str) -> bool:
    """Whether a row's result depends on all targets, so that they come ahead of the input: see `Slab` in the contract.

    It does if class weights are computed from the targets, and if the gradient of a mean is divided by the sum of the
    weights of index targets.
    """
    is_divided = request.spec.reduction == v1.Reduction.REDUCTION_MEAN and request.outputs.HasField("gradient")
    return is_weighted_by_targets(request.spec) or (is_divided and target_dtype in INTEGERS)


class _Subject:
    """A request to be checked, with the values that several rules use."""

    def __init__(self, request: v1.EvaluateRequest, forms: Mapping[str, Form]) -> None:
        self.request = request
        self.forms = forms
        self.kind = LOSSES[loss_of(request.spec)]
        self.options = options_of(request.spec)
        self.shape = forms["input"].shape
        self.row_shape = self.shape if self.kind.elementwise else row_shape(self.shape)
        self.has_probability_targets = self.kind.name == "cross_entropy" and forms["target"].is_floating

    def refuse(self, argument: str, problem: str) -> FieldError:
        return FieldError(field_of(argument, self.request.spec), problem)

    def check_floating(self, argument: str) -> Form:
        form = self.forms[argument]
        if not form.is_floating:
            raise self.refuse(argument, f"expected one of the dtypes {', '.join(FLOATING)}, got {form.dtype}")
        return form

    def check_shape(self, argument: str, shape: Shape, whose: str) -> None:
        form = self.check_floating(argument)
        if form.shape != shape:
            raise self.refuse(argument, f"expected {whose} shape {shape}, got {form.shape}")

    def check_broadcasts(self, argument: str) -> None:
        form, shape = self.check_floating(argument), self.shape
        sizes = zip(reversed(form.shape), reversed(shape), strict=False)
        if len(form.shape) > len(shape) or any(size not in (1, wanted) for size, wanted in sizes):
            problem = f"expected a shape that broadcasts to the input's {shape}, got {form.shape}"
            raise self.refuse(argument, problem)


def _check_spec(spec: v1.LossSpec) -> None:
    _check_enum("spec.reduction", spec.reduction, v1.Reduction.DESCRIPTOR)
    if loss_of(spec) not in LOSSES:
        raise FieldError("spec.loss", f"expected one of {', '.join(LOSSES)}, got nothing")


def _check_series(subject: _Subject) -> None:
    series = subject.request.series
    if not SERIES.fullmatch(series):
        came = repr(series) if len(series) <= MAX_SHOWN else f"{len(series)} characters"
        raise FieldError("series", f"expected up to 64 letters, digits and any of _.:/-, got {came}")


def _check_outputs(subject: _Subject) -> None:
    outputs = subject.request.outputs.outputs
    if not outputs:
        return
    for output in outputs:
        _check_enum("outputs.outputs", output, v1.Output.DESCRIPTOR)
    if len(set(outputs)) < len(outputs):
        raise FieldError("outputs.outputs", "expected each at most once")


def _check_grad_dtype(subject: _Subject) -> None:
    gradient = subject.request.outputs.gradient
    if gradient.HasField("dtype"):
        _check_enum("outputs.gradient.dtype", gradient.dtype, v1.Dtype.DESCRIPTOR)
        name = BY_WIRE[gradient.dtype].name
        if name not in FLOATING:
            raise subject.refuse("grad_dtype", f"expected one of {', '.join(FLOATING)}, got {name}")


def check_smoothing(spec: v1.LossSpec) -> None:
    """Checks the share of the target that is spread, if the loss has one.

    Raises:
        FieldError: It is no share.
    """
    value = getattr(options_of(spec), "label_smoothing", 0.0)
    if not 0.0 <= value <= 1.0:
        raise FieldError(field_of("label_smoothing", spec), f"expected a number in [0, 1], got {value}")


def _check_label_smoothing(subject: _Subject) -> None:
    check_smoothing(subject.request.spec)


def _check_input(subject: _Subject) -> None:
    form = subject.check_floating("input")
    if not subject.kind.elementwise and not form.shape:
        raise subject.refuse("input", "expected shape (C), (N, C) or (N, C, d1, ..., dk), got a scalar")


def _check_target(subject: _Subject) -> None:
    if subject.kind.elementwise:
        subject.check_shape("target", subject.shape, "the input's")
    elif subject.has_probability_targets:
        _check_probability_target(subject)
    else:
        _check_index_target(subject)


def _check_probability_target(subject: _Subject) -> None:
    dtype, shape = subject.forms["target"]
    if shape != subject.shape:
        expected = f"expected class indices of an integer dtype or probabilities of the input's shape {subject.shape}"
        raise subject.refuse("target", f"{expected}, got {dtype} of shape {shape}")


def _check_index_target(subject: _Subject) -> None:
    dtype, shape = subject.forms["target"]
    if dtype not in INTEGERS:
        raise subject.refuse("target", f"expected class indices of an integer dtype, got {dtype}")
    if shape != subject.row_shape:
        rows = f"one class index for each row of input of shape {subject.shape}"
        raise subject.refuse("target", f"expected shape {subject.row_shape}, {rows}, got {shape}")


def _check_ignore_index(subject: _Subject) -> None:
    options = subject.options
    if subject.has_probability_targets and options.HasField("ignore_index") and options.ignore_index >= 0:
        problem = f"expected a negative one for probability targets, got {options.ignore_index}"
        raise subject.refuse("ignore_index", problem)


def _check_weighting(subject: _Subject) -> None:
    if not subject.options.HasField("weighting"):
        return
    weighting = subject.options.weighting
    _check_enum(field_of("weight", subject.request.spec), weighting, v1.ClassWeighting.DESCRIPTOR)
    if subject.has_probability_targets:
        name = v1.ClassWeighting.Name(weighting).removeprefix("CLASS_WEIGHTING_").lower()
        raise subject.refuse("weight", f"expected numbers for probability targets, got {name!r}")


def _check_weight(subject: _Subject) -> None:
    if "weight" not in subject.forms:
        return
    if subject.kind.elementwise:
        subject.check_broadcasts("weight")
        return
    form, classes = subject.check_floating("weight"), class_count(subject.shape)
    if form.shape != (classes,):
        raise subject.refuse("weight", f"expected shape ({classes},), one number a class, got {form.shape}")


def _check_pos_weight(subject: _Subject) -> None:
    if "pos_weight" in subject.forms:
        subject.check_broadcasts("pos_weight")


def _check_outputs_of_elements(subject: _Subject) -> None:
    if subject.kind.elementwise and v1.Output.OUTPUT_LOG_SUM_EXP in subject.request.outputs.outputs:
        raise subject.refuse("outputs", "expected no 'lse', which binary losses do not have")


def _check_sample_weight(subject: _Subject) -> None:
    if "sample_weight" in subject.forms:
        subject.check_shape("sample_weight", subject.row_shape, "the loss's")


def _check_grad_output(subject: _Subject) -> None:
    if "grad_output" not in subject.forms:
        return
    if not subject.request.outputs.HasField("gradient"):
        raise subject.refuse("grad_output", "expected grad=True with it, got grad=False")
    by_rows = subject.request.spec.reduction == v1.Reduction.REDUCTION_NONE
    subject.check_shape("grad_output", subject.row_shape if by_rows else (), "the loss's")


def _check_enum(field: str, value: int, enum: EnumDescriptor) -> None:
    known = enum.values_by_number
    if value == 0 or value not in known:
        names = ", ".join(known[number].name for number in sorted(known) if number)
        came = known[value].name if value in known else f"number {value}"
        raise FieldError(field, f"expected one of {names}, got {came}")


RULES: Mapping[str, Callable[[_Subject], None]] = {  # by arguments, in the order in which they are checked
    "series": _check_series,
    "grad_dtype": _check_grad_dtype,
    "outputs": _check_outputs,
    "label_smoothing": _check_label_smoothing,
    "input": _check_input,
    "target": _check_target,
    "ignore_index": _check_ignore_index,
    "weighting": _check_weighting,
    "weight": _check_weight,
    "lse": _check_outputs_of_elements,
    "sample_weight": _check_sample_weight,
    "grad_output": _check_grad_output,
    "pos_weight": _check_pos_weight,
}
OWN_OPTIONS = frozenset[str]().union(*(kind.options for kind in LOSSES.values()))
RULES_OF = {
    name: tuple(rule for argument, rule in RULES.items() if argument in kind.options or argument not in OWN_OPTIONS)
    for name, kind in LOSSES.items()
}
