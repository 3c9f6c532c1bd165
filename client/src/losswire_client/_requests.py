"""From arguments to requests, and from answers to results. No I/O: every kind of client shares it."""

from collections.abc import Collection

import numpy.typing as npt
from google.protobuf.message import Message

from losswire import v1
from losswire.tensors import decode, encode
from losswire_client._arrays import floating_array, target_array
from losswire_client._errors import ResourceExhaustedError, invalid_argument
from losswire_client._result import Result

MAX_MESSAGE_BYTES = 2**31 - 1  # protobuf's own limit
MAX_BATCH_BYTES = MAX_MESSAGE_BYTES - 2**20  # leaves room for the rest of the request

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
    _check_choice("grad", grad, (False, True))
    if grad_output is not None and not grad:
        raise invalid_argument("grad_output", "expected grad=True beside it, got grad=False")
    request = v1.EvaluateRequest(spec=loss)
    assign(request, "series", series, "text")
    request.spec.reduction = REDUCTIONS[reduction]
    request.spec.zero_when_empty = empty == "zero"
    if grad:
        request.outputs.gradient.SetInParent()
    if grad_output is not None:
        encode(floating_array("grad_output", grad_output), request.outputs.gradient.grad_output, "grad_output")
    targets, inputs = target_array("target", target), floating_array("input", input)
    if targets.nbytes + inputs.nbytes > MAX_BATCH_BYTES:
        size, limit = targets.nbytes + inputs.nbytes, MAX_BATCH_BYTES
        raise ResourceExhaustedError(f"input and target have {size} bytes, and a message holds {limit}")
    encode(targets, request.target, "target")
    encode(inputs, request.input, "input")
    return request


def assign(message: Message, argument: str, value: object, expected: str) -> None:
    """Sets a field that has the argument's name."""
    try:
        setattr(message, argument, value)
    except (TypeError, ValueError, OverflowError) as error:
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


def _check_choice(argument: str, value: object, choices: Collection[object]) -> None:
    # By type too, since an array is equal to nothing and everything, and 1 to True.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise invalid_argument(argument, f"expected one of {', '.join(map(repr, choices))}, got {value!r}")
