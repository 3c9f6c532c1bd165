"""The losses' arguments, each put into an evaluation. `Client` documents them."""

from typing import Unpack

import numpy.typing as npt

from losswire_client._request.arrays import floating_array, target_array
from losswire_client._request.evaluation import Evaluation, Options, assign
from losswire_client._request.hints import hinting
from losswire_client._request.plausibility import check_plausible


def cross_entropy(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | str | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    **options: Unpack[Options],
) -> Evaluation:
    evaluation = Evaluation("cross_entropy", input, target_array("target", target), reduction, **options)
    assign(evaluation.options, "ignore_index", ignore_index, "an integer of 64 bits")
    assign(evaluation.options, "label_smoothing", label_smoothing, "a number in [0, 1]")
    evaluation.set_weight(weight)
    return _complete(evaluation)


def nll_loss(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | str | None,
    ignore_index: int,
    reduction: str,
    **options: Unpack[Options],
) -> Evaluation:
    evaluation = Evaluation("nll_loss", input, target_array("target", target), reduction, **options)
    assign(evaluation.options, "ignore_index", ignore_index, "an integer of 64 bits")
    evaluation.set_weight(weight)
    return _complete(evaluation)


def binary_cross_entropy(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | str | None,
    reduction: str,
    **options: Unpack[Options],
) -> Evaluation:
    target = floating_array("target", target)
    evaluation = Evaluation("binary_cross_entropy", input, target, reduction, **options)
    evaluation.set_weight(weight)
    return _complete(evaluation)


def binary_cross_entropy_with_logits(
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    weight: npt.ArrayLike | str | None,
    reduction: str,
    pos_weight: npt.ArrayLike | None,
    **options: Unpack[Options],
) -> Evaluation:
    target = floating_array("target", target)
    evaluation = Evaluation("binary_cross_entropy_with_logits", input, target, reduction, **options)
    evaluation.set_weight(weight)
    if pos_weight is not None:
        evaluation.inline["pos_weight"] = floating_array("pos_weight", pos_weight)
    return _complete(evaluation)


def _complete(evaluation: Evaluation) -> Evaluation:
    with hinting(evaluation):
        evaluation.complete()
        if evaluation.strict:
            ignore_index = getattr(evaluation.options, "ignore_index", 0)  # which losses of elements have none of
            check_plausible(evaluation.loss, evaluation.input, evaluation.arrays["target"], ignore_index)
    return evaluation
