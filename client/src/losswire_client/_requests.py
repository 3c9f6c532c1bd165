"""From arguments to requests, and from answers to results. No I/O: every kind of client shares it."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

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
    loss: v1.LossSpec,
    input: npt.ArrayLike,
    target: npt.ArrayLike,
    *,
    reduction: str,
    empty: str,
    grad: bool,
    grad_output: npt.ArrayLike | None,
    series: str,
) -> v1.EvaluateRequest:
    """The request of any loss: its own options, and those that all of them have."""
    _check_choice("reduction", reduction, REDUCTIONS)
    _check_choice("empty", empty, ("nan", "zero"))
    if grad_output is not None and not grad:
        raise invalid_argument("grad_output", "expected grad=True beside it, got grad=False")
    request = v1.EvaluateRequest(spec=loss)
    assign(request, "series", series, "text")
    request.spec.reduction = REDUCTIONS[reduction]
    request.spec.zero_when_empty = empty == "zero"
    if grad:
        request.outputs.gradient.SetInParent()
    if grad_output is not None:
        fill(request.outputs.gradient.grad_output, "grad_output", grad_output)
    fill(request.target, "target", _as_wire_integers(_as_array("target", target)))
    fill(request.input, "input", input)
    return request


def fill(message: v1.Tensor, argument: str, value: npt.ArrayLike) -> None:
    """Fills a message with anything that numpy takes for an array."""
    try:
        encode(_as_array(argument, value), message, argument)
    except FieldError as error:
        raise invalid_argument(argument, error.problem) from error


def assign(message: Message, argument: str, value: object, expected: str) -> None:
    """Sets a field that has the argument's name."""
    try:
        setattr(message, argument, value)
    except (TypeError, ValueError) as error:
        raise invalid_argument(argument, f"expected {expected}, got {value!r}") from error


def to_result(response: v1.EvaluateResponse) -> Result:
    return Result(
        loss=decode(response.loss, "loss"),
        loss_sum=response.loss_sum,
        weight_sum=response.weight_sum,
        row_count=response.row_count,
        ignored_count=response.ignored_count,
        grad=decode(response.gradient, "gradient") if response.HasField("gradient") else None,
    )


def _as_array(argument: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise invalid_argument(argument, f"expected an array, got a {type(value).__name__}: {error}") from error


def _as_wire_integers(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Integers that the contract has no type for travel as int64, if that holds them."""
    return array.astype(np.int64) if array.dtype.name not in BY_NAME and np.can_cast(array.dtype, np.int64) else array


def _check_choice(argument: str, value: str, choices: Collection[str]) -> None:
    if value not in tuple(choices):
        raise invalid_argument(argument, f"expected one of {', '.join(map(repr, choices))}, got {value!r}")
