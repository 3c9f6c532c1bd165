"""Rules for inputs, targets and weights: of classes, or of elements for the binary losses."""

from losswire import v1
from losswire.errors import FieldError
from losswire.fields import field_of
from losswire.forms import divergences
from losswire.forms.numbers import problem_of
from losswire.forms.subject import Subject, check_enum
from losswire.losses import options_of
from losswire.rows import class_count


def check_smoothing(spec: v1.LossSpec) -> None:
    """Checks the share of the target that is spread, if the loss has one.

    Raises:
        FieldError: It is no share.
    """
    value = getattr(options_of(spec), "label_smoothing", 0.0)
    if not 0.0 <= value <= 1.0:
        raise FieldError(field_of("label_smoothing", spec), f"expected a number in [0, 1], got {value}")


def check_label_smoothing(subject: Subject) -> None:
    check_smoothing(subject.request.spec)


def check_z_loss(subject: Subject) -> None:
    if problem := problem_of(subject.options.z_loss, least=0):
        raise subject.refuse("z_loss", problem)


def check_head(subject: Subject) -> None:
    if subject.kind.name == "linear_cross_entropy" and "head" not in subject.heads:
        raise subject.refuse("head", "expected digest or alias of a head, got an empty text")


def check_input(subject: Subject) -> None:
    form = subject.check_floating("input")
    if not subject.kind.elementwise and not form.shape:
        shapes = _shapes_with_last("H" if "head" in subject.heads else "C") if subject.kind.classes_last else SHAPES
        raise subject.refuse("input", f"expected shape {shapes}, got a scalar")


SHAPES = "(C), (N, C) or (N, C, d1, ..., dk)"


def _shapes_with_last(name: str) -> str:
    return f"({name}) or (..., {name})"


def check_target(subject: Subject) -> None:
    if subject.kind.elementwise:
        subject.check_shape("target", subject.shape, "the input's")
    elif subject.kind.name == "kl_divergence":
        divergences.check_distribution(subject)
    elif subject.has_probability_targets:
        _check_probability_target(subject)
    else:
        _check_index_target(subject)


def _check_probability_target(subject: Subject) -> None:
    dtype, shape = subject.forms["target"]
    if "head" in subject.heads:
        if not shape or shape[:-1] != subject.row_shape:
            rows = ", ".join(map(str, (*subject.row_shape, "V")))
            expected = f"expected class indices of an integer dtype or probabilities of shape ({rows})"
            raise subject.refuse("target", f"{expected}, got {dtype} of shape {shape}")
    elif shape != subject.shape:
        expected = f"expected class indices of an integer dtype or probabilities of the input's shape {subject.shape}"
        raise subject.refuse("target", f"{expected}, got {dtype} of shape {shape}")


def _check_index_target(subject: Subject) -> None:
    _, shape = subject.check_integer("target", "class indices")
    if shape != subject.row_shape:
        rows = f"one class index for each row of input of shape {subject.shape}"
        raise subject.refuse("target", f"expected shape {subject.row_shape}, {rows}, got {shape}")


def check_ignore_index(subject: Subject) -> None:
    options = subject.options
    if not options.HasField("ignore_index"):
        return
    if subject.has_probability_targets and options.ignore_index >= 0:
        problem = f"expected a negative one for probability targets, got {options.ignore_index}"
        raise subject.refuse("ignore_index", problem)
    if subject.kind.name == "kl_divergence" and "labels" not in subject.forms:
        raise subject.refuse("ignore_index", "expected labels with it, got none")


def check_weighting(subject: Subject) -> None:
    if not subject.options.HasField("weighting"):
        return
    weighting = subject.options.weighting
    check_enum(field_of("weight", subject.request.spec), weighting, v1.ClassWeighting.DESCRIPTOR)
    if subject.has_probability_targets:
        name = v1.ClassWeighting.Name(weighting).removeprefix("CLASS_WEIGHTING_").lower()
        raise subject.refuse("weight", f"expected numbers for probability targets, got {name!r}")


def check_weight(subject: Subject) -> None:
    if "weight" not in subject.forms:
        return
    if subject.kind.elementwise:
        subject.check_broadcasts("weight")
        return
    form = subject.check_floating("weight")
    if "head" in subject.heads:  # which alone knows the number of classes
        if len(form.shape) != 1:
            raise subject.refuse("weight", f"expected shape (V), one number a class, got {form.shape}")
        return
    classes = class_count(subject.shape)
    if form.shape != (classes,):
        raise subject.refuse("weight", f"expected shape ({classes},), one number a class, got {form.shape}")


def check_pos_weight(subject: Subject) -> None:
    if "pos_weight" in subject.forms:
        subject.check_broadcasts("pos_weight")
