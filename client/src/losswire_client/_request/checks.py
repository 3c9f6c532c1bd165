"""What the server would refuse, refused before anything is sent: in its order and in its words.

A copy of its rules in numpy, since the engine that has them needs torch. Tests hold the two to the same verdicts.
"""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from losswire import v1
from losswire.requests import check_each_once, check_series
from losswire.rows import class_count, row_shape
from losswire.tensors import FieldError
from losswire_client._errors import argument_of, invalid_argument
from losswire_client._request.element_checks import check_classes, check_probabilities, check_zeros_and_ones
from losswire_client._request.evaluation import OUTPUTS, Evaluation
from losswire_client._request.form_checks import (
    check_broadcasts,
    check_class_input,
    check_class_weight,
    check_floating,
    check_index_target,
    check_like_input,
    check_probability_target,
    check_shape,
    is_floating,
)
from losswire_client._request.plausibility import check_plausible

Arrays = dict[str, npt.NDArray[Any]]  # by names of arguments


def check(evaluation: Evaluation) -> None:
    """Checks all that the server will, but for what only it can know; and more if the evaluation is strict.

    Raises:
        InvalidArgumentError: An argument is wrong.
    """
    _check_request(evaluation.request)
    CHECKS[evaluation.loss](evaluation, {**evaluation.arrays, **evaluation.inline})
    if evaluation.strict:
        ignore_index = getattr(evaluation.options, "ignore_index", 0)  # which the binary losses have none of
        check_plausible(evaluation.loss, evaluation.input, evaluation.arrays["target"], ignore_index)


def _check_request(request: v1.EvaluateRequest) -> None:
    try:
        check_series(request.series)
        check_each_once(request.outputs.outputs)
    except FieldError as error:
        raise invalid_argument(argument_of(error.field), error.problem) from error


def _cross_entropy(evaluation: Evaluation, arrays: Arrays) -> None:
    smoothing = evaluation.options.label_smoothing
    if not 0.0 <= smoothing <= 1.0:
        raise invalid_argument("label_smoothing", f"expected a number in [0, 1], got {smoothing}")
    check_class_input(arrays["input"])
    if is_floating(arrays["target"]):
        check_probability_target(arrays["target"], arrays["input"].shape)
        _check_options_of_probabilities(evaluation)
        _check_factors_of_classes(evaluation, arrays)
    else:
        _check_indexed(evaluation, arrays)


def _nll_loss(evaluation: Evaluation, arrays: Arrays) -> None:
    check_class_input(arrays["input"])
    _check_indexed(evaluation, arrays)


def _binary_cross_entropy(evaluation: Evaluation, arrays: Arrays) -> None:
    _check_forms_of_elements(evaluation, arrays)
    check_probabilities("input", arrays["input"], evaluation.wire_dtype)
    check_probabilities("target", arrays["target"], arrays["target"].dtype)
    _check_classes_of_elements(evaluation, arrays)


def _binary_cross_entropy_with_logits(evaluation: Evaluation, arrays: Arrays) -> None:
    _check_forms_of_elements(evaluation, arrays)
    if "pos_weight" in arrays:
        check_broadcasts("pos_weight", arrays["pos_weight"], arrays["input"].shape)
    _check_classes_of_elements(evaluation, arrays)


CHECKS: dict[str, Callable[[Evaluation, Arrays], None]] = {
    "cross_entropy": _cross_entropy,
    "nll_loss": _nll_loss,
    "binary_cross_entropy": _binary_cross_entropy,
    "binary_cross_entropy_with_logits": _binary_cross_entropy_with_logits,
}


def _check_indexed(evaluation: Evaluation, arrays: Arrays) -> None:
    target, shape = arrays["target"], arrays["input"].shape
    check_index_target(target, shape)
    _check_factors_of_classes(evaluation, arrays)
    check_classes(target, class_count(shape), evaluation.options.ignore_index)


def _check_options_of_probabilities(evaluation: Evaluation) -> None:
    ignore_index = evaluation.options.ignore_index
    if ignore_index >= 0:
        problem = f"expected a negative one for probability targets, got {ignore_index}"
        raise invalid_argument("ignore_index", problem)
    if evaluation.weighting is not None:
        problem = f"expected numbers for probability targets, got {evaluation.weighting!r}"
        raise invalid_argument("weight", problem)


def _check_factors_of_classes(evaluation: Evaluation, arrays: Arrays) -> None:
    shape = arrays["input"].shape
    if "weight" in arrays:
        check_class_weight(arrays["weight"], class_count(shape))
    _check_factors_of_rows(evaluation, arrays, row_shape(shape))


def _check_forms_of_elements(evaluation: Evaluation, arrays: Arrays) -> None:
    shape = arrays["input"].shape
    check_floating("input", arrays["input"])
    check_like_input(arrays["target"], shape)
    if "weight" in arrays:
        check_broadcasts("weight", arrays["weight"], shape)
    if OUTPUTS["lse"] in evaluation.request.outputs.outputs:
        raise invalid_argument("outputs", "expected no 'lse', which binary losses have none of")
    _check_factors_of_rows(evaluation, arrays, shape)


def _check_factors_of_rows(evaluation: Evaluation, arrays: Arrays, shape: tuple[int, ...]) -> None:
    if "sample_weight" in arrays:
        check_shape("sample_weight", arrays["sample_weight"], shape)
    if "grad_output" in arrays:
        if not evaluation.request.outputs.HasField("gradient"):
            raise invalid_argument("grad_output", "expected grad=True beside it, got grad=False")
        by_rows = evaluation.request.spec.reduction == v1.Reduction.REDUCTION_NONE
        check_shape("grad_output", arrays["grad_output"], shape if by_rows else ())


def _check_classes_of_elements(evaluation: Evaluation, arrays: Arrays) -> None:
    if evaluation.weighting is not None:
        check_zeros_and_ones(arrays["target"], evaluation.weighting)
