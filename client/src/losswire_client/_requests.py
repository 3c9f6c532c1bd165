"""From arguments to requests, and from answers to results. No I/O: every kind of client shares it."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.dtypes import BY_NAME
from losswire.tensors import FieldError, decode, encode
from losswire_client._errors import invalid_argument
from losswire_client._result import Result

REDUCTIONS = {
    "none": v1.Reduction.REDUCTION_NONE,
    "mean": v1.Reduction.REDUCTION_MEAN,
    "sum": v1.Reduction.REDUCTION_SUM,
}


def evaluate_request(
    spec: v1.LossSpec,
    input: npt.ArrayLike,
    target: v1.Tensor,
    *,
    grad: bool,
    grad_output: npt.ArrayLike | None,
    series: str,
) -> v1.EvaluateRequest:
    """The request of any loss."""
    if grad_output is not None and not grad:
        raise invalid_argument("grad_output", "expected grad=True beside it, got grad=False")
    gradient = v1.GradientSpec(grad_output=optional_tensor("grad_output", grad_output)) if grad else None
    return v1.EvaluateRequest(
        spec=spec,
        outputs=v1.OutputSpec(gradient=gradient),
        series=series,
        target=target,
        input=tensor("input", input),
    )


def loss_spec(reduction: str, empty: str, **loss: Any) -> v1.LossSpec:
    """The options that all losses have, and the message of one loss under its name."""
    _check_choice("reduction", reduction, REDUCTIONS)
    _check_choice("empty", empty, ("nan", "zero"))
    return v1.LossSpec(reduction=REDUCTIONS[reduction], zero_when_empty=empty == "zero", **loss)


def tensor(argument: str, value: npt.ArrayLike) -> v1.Tensor:
    """The message of anything that numpy takes for an array."""
    try:
        return encode(np.asarray(value), argument)
    except FieldError as error:
        raise invalid_argument(argument, error.problem) from error


def optional_tensor(argument: str, value: npt.ArrayLike | None) -> v1.Tensor | None:
    return None if value is None else tensor(argument, value)


def index_tensor(argument: str, value: npt.ArrayLike) -> v1.Tensor:
    """The message of class indices; integers that the contract has no type for travel as int64."""
    array = np.asarray(value)
    if array.dtype.name not in BY_NAME and np.can_cast(array.dtype, np.int64):
        array = array.astype(np.int64)
    return tensor(argument, array)


def to_result(response: v1.EvaluateResponse) -> Result:
    return Result(
        loss=decode(response.loss, "loss"),
        loss_sum=response.loss_sum,
        weight_sum=response.weight_sum,
        row_count=response.row_count,
        ignored_count=response.ignored_count,
        grad=decode(response.gradient, "gradient") if response.HasField("gradient") else None,
    )


def _check_choice(argument: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise invalid_argument(argument, f"expected one of {', '.join(map(repr, choices))}, got {value!r}")
