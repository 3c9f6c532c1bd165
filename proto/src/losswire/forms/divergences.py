"""Rules for divergences of two distributions."""

from losswire import v1
from losswire.forms.numbers import problem_of, problem_of_share
from losswire.forms.subject import Subject, check_enum
from losswire.losses import TAILS


def check_divergence(subject: Subject) -> None:
    check_enum(f"spec.{subject.kind.name}.divergence", subject.options.divergence, v1.Divergence.DESCRIPTOR)


def check_beta(subject: Subject) -> None:
    options = subject.options
    if not options.HasField("beta"):
        return
    if options.divergence != v1.Divergence.DIVERGENCE_JENSEN_SHANNON:
        raise subject.refuse("beta", "expected the divergence jensen_shannon with it")
    if problem := problem_of_share(options.beta):
        raise subject.refuse("beta", problem)


def check_temperature(subject: Subject) -> None:
    options = subject.options
    if not options.HasField("temperature"):
        return
    if problem := problem_of(options.temperature):
        raise subject.refuse("temperature", problem)
    is_partial = "target_classes" in subject.forms and options.tail != v1.Tail.TAIL_RENORMALIZE
    if options.temperature != 1 and is_partial:
        problem = "expected 1 with a target of some classes, unless they are renormalized"
        raise subject.refuse("temperature", f"{problem}, got {options.temperature}")


def check_target_head(subject: Subject) -> None:
    if "target_head" in subject.heads and "target_classes" in subject.forms:
        raise subject.refuse("target_classes", "expected none with target_head, got a tensor")


def check_tail(subject: Subject) -> None:
    if "target_classes" in subject.forms:
        if not subject.options.tail:
            raise subject.refuse("tail", f"expected {', '.join(TAILS)} with target_classes, got none")
        check_enum(f"spec.{subject.kind.name}.tail", subject.options.tail, v1.Tail.DESCRIPTOR)
    elif subject.options.tail:
        raise subject.refuse("tail", "expected target_classes with it, got none")


def check_distribution(subject: Subject) -> None:
    """Checks the target of a divergence: logits, hidden states, or log-probabilities of some classes."""
    form = subject.check_floating("target")
    is_free = "target_head" in subject.heads or "target_classes" in subject.forms or "head" in subject.heads
    if not is_free and form.shape != subject.shape:
        raise subject.refuse("target", f"expected logits of the input's shape {subject.shape}, got {form.shape}")
    if not form.shape or form.shape[:-1] != subject.row_shape:
        rows = ", ".join(map(str, (*subject.row_shape, "n")))
        raise subject.refuse("target", f"expected shape ({rows}), a row for each of the input's, got {form.shape}")


def check_target_classes(subject: Subject) -> None:
    if "target_classes" not in subject.forms:
        return
    _refuse_elsewhere(subject, "target_classes")
    form, target = subject.check_integer("target_classes", "classes"), subject.forms["target"]
    if form.shape != target.shape:
        raise subject.refuse("target_classes", f"expected the target's shape {target.shape}, got {form.shape}")


def check_labels(subject: Subject) -> None:
    if "labels" not in subject.forms:
        _check_no_labels(subject)
        return
    _refuse_elsewhere(subject, "labels")
    form = subject.check_integer("labels", "classes")
    if form.shape != subject.row_shape:
        raise subject.refuse("labels", f"expected shape {subject.row_shape}, one class a row, got {form.shape}")


def _check_no_labels(subject: Subject) -> None:
    if subject.request.exact.by_class and "target_head" in subject.heads:
        problem = "expected them with exact sums by class where the target is hidden states, got none"
        raise subject.refuse("labels", problem)


def _refuse_elsewhere(subject: Subject, argument: str) -> None:
    if subject.kind.name != "kl_divergence":
        raise subject.refuse(argument, f"expected none for {subject.kind.name}")
