"""Rules for what all losses have: the series, the reduction, outputs, and tensors with a number for each row."""

import re

from losswire import v1
from losswire.dtypes import BY_WIRE, FLOATING
from losswire.errors import FieldError
from losswire.forms.numbers import problem_of
from losswire.forms.subject import Subject, check_enum
from losswire.losses import MOST_TOP, OUTPUTS, REDUCTIONS
from losswire.rows import class_count

MAX_SHOWN = 100  # characters of a wrong name
SERIES = re.compile(r"[A-Za-z0-9_.:/-]{0,64}")
OF_TARGETS = {OUTPUTS[name]: name for name in ("target_log_probabilities", "target_ranks")}


def check_series(subject: Subject) -> None:
    series = subject.request.series
    if not SERIES.fullmatch(series):
        came = repr(series) if len(series) <= MAX_SHOWN else f"{len(series)} characters"
        raise FieldError("series", f"expected up to 64 letters, digits and any of _.:/-, got {came}")


def check_divisor(subject: Subject) -> None:
    spec = subject.request.spec
    if not spec.HasField("divisor"):
        return
    if problem := problem_of(spec.divisor):
        raise subject.refuse("divisor", problem)
    if spec.reduction != v1.Reduction.REDUCTION_MEAN:
        came = next((name for name, wire in REDUCTIONS.items() if wire == spec.reduction), spec.reduction)
        raise subject.refuse("divisor", f"expected reduction 'mean' with it, got {came!r}")


def check_outputs(subject: Subject) -> None:
    outputs = subject.request.outputs.outputs
    if not outputs:
        return
    for output in outputs:
        check_enum("outputs.outputs", output, v1.Output.DESCRIPTOR)
    if len(set(outputs)) < len(outputs):
        raise FieldError("outputs.outputs", "expected each at most once")


def check_kinds_of_outputs(subject: Subject) -> None:
    """Checks outputs that not every loss and target has."""
    outputs = subject.request.outputs.outputs
    if subject.kind.elementwise and v1.Output.OUTPUT_LOG_SUM_EXP in outputs:
        raise subject.refuse("outputs", "expected no 'lse', which binary losses do not have")
    for output in outputs:
        if output in OF_TARGETS and (reason := _reason_to_have_no_classes(subject)):
            raise subject.refuse("outputs", f"expected no {OF_TARGETS[output]!r}{reason}")
    if subject.kind.elementwise and (top := subject.request.outputs.top_k):
        raise subject.refuse("top_k", f"expected 0 for binary losses, whose rows have no classes, got {top}")


def _reason_to_have_no_classes(subject: Subject) -> str:
    """Why targets are no class indices; empty if they are."""
    if subject.kind.name == "kl_divergence":
        return "" if "labels" in subject.forms else " without labels, which it is of"
    if subject.kind.elementwise:
        return ", which binary losses do not have"
    return ", which probability targets do not have" if subject.has_probability_targets else ""


def check_top_k(subject: Subject) -> None:
    top = subject.request.outputs.top_k
    if not 0 <= top <= MOST_TOP:
        raise subject.refuse("top_k", f"expected an integer in [0, {MOST_TOP}], got {top}")


def check_top_classes(subject: Subject) -> None:
    """Checks that there are as many classes as are asked for. Those of a head are not known here."""
    top = subject.request.outputs.top_k
    if not top or subject.kind.elementwise:
        return
    classes = class_count(subject.shape, last=subject.kind.classes_last)
    if "head" not in subject.heads and top > classes:
        raise subject.refuse("top_k", f"expected at most the number of classes, {classes}, got {top}")


def check_grad_dtype(subject: Subject) -> None:
    gradient = subject.request.outputs.gradient
    if gradient.HasField("dtype"):
        check_enum("outputs.gradient.dtype", gradient.dtype, v1.Dtype.DESCRIPTOR)
        name = BY_WIRE[gradient.dtype].name
        if name not in FLOATING:
            raise subject.refuse("grad_dtype", f"expected one of {', '.join(FLOATING)}, got {name}")


def check_sample_weight(subject: Subject) -> None:
    if "sample_weight" in subject.forms:
        subject.check_shape("sample_weight", subject.row_shape, "the loss's")


def check_grad_output(subject: Subject) -> None:
    if "grad_output" not in subject.forms:
        return
    if not subject.request.outputs.HasField("gradient"):
        raise subject.refuse("grad_output", "expected grad=True with it, got grad=False")
    by_rows = subject.request.spec.reduction == v1.Reduction.REDUCTION_NONE
    subject.check_shape("grad_output", subject.row_shape if by_rows else (), "the loss's")
