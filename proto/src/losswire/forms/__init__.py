"""The rules for dtypes, shapes and options. The SDK applies them before it sends, the server before it evaluates.

The rules do not read elements: only the engine checks whether a target is a class, or a number a probability. Nor do
they know heads: only the engine checks what depends on the number of their classes.
"""

from collections.abc import Callable, Mapping

from losswire import v1
from losswire.dtypes import INTEGERS
from losswire.forms import classes, common, divergences
from losswire.forms.classes import check_smoothing
from losswire.forms.form import DEFAULTS, Form, Shape, forms_of
from losswire.forms.subject import Subject
from losswire.losses import LOSSES, is_weighted_by_targets

__all__ = ["DEFAULTS", "RULES", "Form", "Shape", "ahead_of_input", "check", "check_smoothing", "forms_of"]


def check(request: v1.EvaluateRequest, forms: Mapping[str, Form]) -> None:
    """Checks the dtypes, shapes and options of a request.

    Args:
        request: It has a loss and a reduction. Tensors in it are not read.
        forms: The forms of its tensors, by the names of their arguments, including ``input`` and ``target``.

    Raises:
        FieldError: A field is wrong. If several are, the error is for the first in the order of `RULES`.
    """
    subject = Subject(request, forms)
    for rule in RULES_OF[subject.kind.name]:
        rule(subject)


def ahead_of_input(request: v1.EvaluateRequest, target_dtype: str) -> str:
    """The argument on whose elements each row's result depends, so that all come ahead of the input; empty for none.

    See `Slab` in the contract. Results depend on all targets if class weights are computed from them, and if the
    gradient of a mean is divided by the sum of the weights of index targets; for a divergence, of the labels.
    """
    if is_weighted_by_targets(request.spec):
        return "target"
    spec, outputs = request.spec, request.outputs
    is_divided = spec.reduction == v1.Reduction.REDUCTION_MEAN and not spec.HasField("divisor")
    if not (is_divided and outputs.HasField("gradient")):
        return ""
    if request.HasField("labels"):
        return "labels"
    return "target" if target_dtype in INTEGERS else ""


RULES: Mapping[str, Callable[[Subject], None]] = {  # by arguments, in the order in which they are checked
    "series": common.check_series,
    "grad_dtype": common.check_grad_dtype,
    "outputs": common.check_outputs,
    "top_k": common.check_top_k,
    "divisor": common.check_divisor,
    "label_smoothing": classes.check_label_smoothing,
    "divergence": divergences.check_divergence,
    "beta": divergences.check_beta,
    "head": classes.check_head,
    "target_head": divergences.check_target_head,
    "tail": divergences.check_tail,
    "temperature": divergences.check_temperature,
    "input": classes.check_input,
    "target": classes.check_target,
    "target_classes": divergences.check_target_classes,
    "labels": divergences.check_labels,
    "ignore_index": classes.check_ignore_index,
    "weighting": classes.check_weighting,
    "weight": classes.check_weight,
    "z_loss": classes.check_z_loss,
    "kinds_of_outputs": common.check_kinds_of_outputs,
    "sample_weight": common.check_sample_weight,
    "grad_output": common.check_grad_output,
    "pos_weight": classes.check_pos_weight,
    "top_classes": common.check_top_classes,
}
OWN_OPTIONS = frozenset[str]().union(*(kind.options for kind in LOSSES.values()))
RULES_OF = {
    name: tuple(rule for argument, rule in RULES.items() if argument in kind.options or argument not in OWN_OPTIONS)
    for name, kind in LOSSES.items()
}
