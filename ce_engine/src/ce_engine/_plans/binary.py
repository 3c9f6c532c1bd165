from typing import Unpack

import torch
from torch import Size, Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._kernel_rows import Rows
from ce_engine._plans.checks import check_elements
from ce_engine._plans.index_target import weights_from_counts
from ce_engine._plans.options import Common, Options
from ce_engine._plans.planning import computed, computed_in, plan, product, sample_weight
from ce_engine._plans.remembered import remembers_forms
from ce_engine._plans.validation import PART_ROWS, check_broadcasts, check_probabilities, first_row
from ce_engine._slab import Slab


def _check_probabilities(input: Tensor, target: Tensor) -> None:
    check_probabilities("input", input)
    check_probabilities("target", target)


@remembers_forms(_check_probabilities)
@torch.no_grad()
def binary_cross_entropy(
    input: Tensor,  # any shape
    target: Tensor,  # as input
    weight: Tensor | str | None = None,  # broadcasts to the input's shape
    reduction: str = "mean",
    **common: Unpack[Common],
) -> Slab:
    """Binary cross-entropy of probabilities, as ``torch.nn.functional.binary_cross_entropy``.

    Logarithms are clamped at -100, and each element is a row.

    Args:
        input: Probabilities, each in [0, 1], in float64, float32, float16 or bfloat16.
        target: Probabilities of the positive class, each in [0, 1], in any of the input's dtypes.
        weight: A factor for each element, in any of the input's dtypes. Or how to compute it from the targets, all of
            which must then be 0 or 1: ``balanced`` or ``complement``, as in `cross_entropy` with two classes.
        reduction: ``none``, ``mean`` or ``sum``. ``mean`` divides by the number of elements, whatever the weights.
        **common: See `Common`.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
    """
    options = Options(reduction, **common)
    if not options.checked:
        check_elements(input, target, weight, options)
    _check_probabilities(input, target)
    return _slab("binary_cross_entropy", input, target, weight, None, options)


@remembers_forms()
@torch.no_grad()
def binary_cross_entropy_with_logits(
    input: Tensor,  # any shape
    target: Tensor,  # as input
    weight: Tensor | str | None = None,  # broadcasts to the input's shape
    reduction: str = "mean",
    pos_weight: Tensor | None = None,  # broadcasts to the input's shape
    **common: Unpack[Common],
) -> Slab:
    """Binary cross-entropy of logits, as ``torch.nn.functional.binary_cross_entropy_with_logits``.

    Each element is a row.

    Args:
        input: Logits, in float64, float32, float16 or bfloat16. Half precision is computed in float32.
        target: Probabilities of the positive class, in any of the input's dtypes; not checked, as in PyTorch.
        weight: As in `binary_cross_entropy`.
        reduction: As in `binary_cross_entropy`.
        pos_weight: A factor for the positive part of each element's loss, in any of the input's dtypes.
        **common: See `Common`.

    Raises:
        InvalidArgumentError: An argument is wrong; the message names it, what came and what was expected.
    """
    options = Options(reduction, **common)
    if not options.checked:
        check_elements(input, target, weight, options)
    if pos_weight is not None and not options.checked:
        check_broadcasts("pos_weight", pos_weight, input.shape)
    return _slab("binary_cross_entropy_with_logits", input, target, weight, pos_weight, options)


def _slab(
    loss: str,
    input: Tensor,
    target: Tensor,
    weight: Tensor | str | None,
    pos_weight: Tensor | None,
    options: Options,
) -> Slab:
    samples = sample_weight(options)
    precise = computed_in(input) if samples is None else torch.float64  # a product is rounded once
    factor = product(_element_weight(weight, target, precise), samples)
    return plan(
        loss,
        input,
        options,
        Rows(
            weight=computed(factor, input),
            pos_weight=None if pos_weight is None else computed(_elements(pos_weight, input.shape), input),
        ),
        shape=input.shape,
        class_count=1,
        weight_sum=float(input.numel()),
        target=target,
    )


def _element_weight(weight: Tensor | str | None, target: Tensor, dtype: torch.dtype) -> Tensor | None:  # (R)
    if weight is None:
        return None
    if isinstance(weight, str):
        target = target.cpu().reshape(-1)
        negative, positive = weights_from_counts(binary_counts(target, weight), weight).to(dtype)
        return torch.where(target == 1, positive, negative)
    return _elements(weight, target.shape)


def _elements(tensor: Tensor, shape: Size) -> Tensor:  # (R)
    return tensor.cpu().expand(shape).reshape(-1)


def binary_counts(
    target: Tensor,  # (R)
    weighting: str,
) -> Tensor:  # (2) int64
    """How many elements are 0 and how many are 1. Where classes are weighed, no others are allowed."""
    row = first_row(target, lambda part: (part != 1) & (part != 0))
    if row is not None:
        raise InvalidArgumentError(
            "target", f"expected only 0 and 1 with weight={weighting!r}, got {float(target[row])}", ("element", row)
        )
    positives = sum(int((part == 1).count_nonzero()) for part in torch.split(target, PART_ROWS))
    return torch.tensor([len(target) - positives, positives], device="cpu")
