from typing import Unpack

from torch import Size, Tensor

from ce_engine._divergences.divergence import HALF, Divergence
from ce_engine._divergences.named import check_named
from ce_engine._heads.head import Head
from ce_engine._kernel_rows import Rows
from ce_engine._plans.checks import check_factors_of_rows
from ce_engine._plans.divergence_checks import (
    check_arguments,
    check_heads,
    check_labels,
    check_no_log_target,
    check_numbers_of,
    check_outputs_of_labels,
    check_temperature,
)
from ce_engine._plans.index_target import IndexTarget, int64_rows
from ce_engine._plans.options import Common, Options
from ce_engine._plans.planning import computed, plan, sample_weight
from ce_engine._slab import Slab


def kl_divergence(
    input: Tensor,  # (C) or (..., C); or (..., H) with head
    target: Tensor,  # (..., C); or (..., H) with target_head, or (..., k) with target_classes
    *,
    divergence: str = "forward",
    beta: float | None = None,
    temperature: float = 1.0,
    head: Head | None = None,
    target_head: Head | None = None,
    target_classes: Tensor | None = None,  # as target
    tail: str | None = None,
    labels: Tensor | None = None,  # as the loss with reduction none
    ignore_index: int = -100,
    reduction: str = "mean",
    **common: Unpack[Common],
) -> Slab:
    """A divergence of the distributions of two models: p of the target, as a teacher, and q of the input, as a student.

    Classes are last, and a row is one distribution. Terms of classes whose probability is 0 are 0. The loss and its
    gradient, which is that of the input alone, are not multiplied by the square of the temperature.

    Args:
        input: Logits, in float64, float32, float16 or bfloat16. Half precision is computed in float32. With ``head``
            hidden states, in float64 if the head is, and only then.
        target: Logits of the same classes, in any of these dtypes; with ``target_head`` hidden states. Or
            log-probabilities of the classes in ``target_classes``, of which an entry of -infinity has no share.
        divergence: ``forward``, KL(p || q); ``reverse``, KL(q || p); or ``jensen_shannon``, beta KL(p || m) +
            (1 - beta) KL(q || m) with the mixture m = beta p + (1 - beta) q.
        beta: The target's share of the mixture, in (0, 1), at least 1e-15 from both; 0.5 if None. Only with
            ``jensen_shannon``.
        temperature: What all logits are divided by, from 1e-15 to 1e15. With ``target_classes`` it needs
            ``renormalize``.
        head: Makes the input's logits. The gradient is then that of the hidden states.
        target_head: Makes the target's logits.
        target_classes: Classes in any integer dtype, which differ within a row, each in [0, C). Those of entries
            without a share may be any numbers.
        tail: With ``target_classes``, what becomes of all other classes. ``renormalize`` scales both distributions to
            sum to 1 over the named classes (where the input has nothing there, ``forward`` is infinite and the others
            are NaN), ``one_bin`` makes one class more of all others, if there are some,
            ``drop`` leaves them out of the sum and scales nothing.
        labels: A class for each row, in any integer dtype, each in [0, C) or equal to ``ignore_index``.
        ignore_index: Rows with this label have loss 0 and gradient 0 and do not count in ``mean``.
        reduction: ``none``, ``mean`` or ``sum``. ``mean`` divides by the number of rows that count.
        **common: See `Common`.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
    """
    check_no_log_target(common)
    options = Options(reduction, **common)
    check_numbers_of(divergence, beta, temperature)
    if not options.checked:
        check_heads(input, target, head, target_head, target_classes)
        check_arguments(input, target, _logits(input, head), _logits(target, target_head), target_classes, tail)
        check_temperature(temperature, tail)
        check_labels(labels, ignore_index, input.shape[:-1])
        check_factors_of_rows(options, input.shape[:-1])
    check_outputs_of_labels(options.outputs, labels)
    form = Divergence(
        divergence,
        HALF if beta is None else float(beta),
        float(temperature),
        tail,
        target_head,
        named_count=None if target_classes is None else target.shape[-1],
        has_labels=labels is not None,
    )
    return _slab(input, target, head, target_classes, labels, ignore_index, form, options)


def _slab(
    input: Tensor,
    target: Tensor,
    head: Head | None,
    target_classes: Tensor | None,
    labels: Tensor | None,
    ignore_index: int,
    form: Divergence,
    options: Options,
) -> Slab:
    class_count, row_count = _logits(input, head)[-1], input.shape[:-1].numel()
    checked = None if labels is None else IndexTarget.of(labels, class_count, ignore_index, "labels")
    ignored_count = 0 if checked is None else checked.ignored_count
    rows = Rows(
        classes=None if checked is None else checked.classes,
        ignored=None if checked is None else checked.ignored,
        weight=computed(sample_weight(options), input),
        named_classes=None if target_classes is None else _named(target, target_classes, class_count),
    )
    return plan(
        "kl_divergence",
        input,
        options,
        rows,
        shape=input.shape[:-1],
        class_count=class_count,
        weight_sum=float(row_count - ignored_count),
        ignored_count=ignored_count,
        target=target,
        head=head,
        divergence=form,
    )


def _logits(x: Tensor, head: Head | None) -> Size:
    """The shape of logits, which a head may have to make first."""
    return x.shape if head is None else Size((*x.shape[:-1], head.class_count))


def _named(target: Tensor, target_classes: Tensor, class_count: int) -> Tensor:  # (R, k) int64, on the host
    shape = target.shape[:-1].numel(), target.shape[-1]
    classes = int64_rows(target_classes.cpu(), "target_classes").view(shape)
    check_named(target.detach().cpu().reshape(shape), classes, class_count)
    return classes
