"""From arguments to requests, and from answers to results. No I/O: every kind of client shares it."""

from collections.abc import Callable, Collection
from typing import Any, Literal, TypedDict

import numpy.typing as npt
from google.protobuf.message import Message

from losswire import v1
from losswire.tensors import decode, encode
from losswire_client._arrays import floating_array
from losswire_client._errors import ResourceExhaustedError, invalid_argument
from losswire_client._result import Result

MAX_MESSAGE_BYTES = 2**31 - 1  # protobuf's own limit
MAX_BATCH_BYTES = MAX_MESSAGE_BYTES - 2**20  # leaves room for the rest of the request

REDUCTIONS = {
    "none": v1.Reduction.REDUCTION_NONE,
    "mean": v1.Reduction.REDUCTION_MEAN,
    "sum": v1.Reduction.REDUCTION_SUM,
}
WEIGHTINGS = {
    "balanced": v1.ClassWeighting.CLASS_WEIGHTING_BALANCED,
    "complement": v1.ClassWeighting.CLASS_WEIGHTING_COMPLEMENT,
}
OUTPUTS = {
    "lse": v1.Output.OUTPUT_LOG_SUM_EXP,
    "probabilities": v1.Output.OUTPUT_PROBABILITIES,
    "log_probabilities": v1.Output.OUTPUT_LOG_PROBABILITIES,
    "predictions": v1.Output.OUTPUT_PREDICTIONS,
}

Put = Callable[[npt.NDArray[Any], v1.Tensor, str], None]  # fills a message with an array, named by its argument
Output = Literal["gradient", "log_sum_exp", "probabilities", "log_probabilities", "predictions"]
_Weighted = v1.CrossEntropy | v1.NllLoss | v1.BinaryCrossEntropy | v1.BinaryCrossEntropyWithLogits


class Options(TypedDict, total=False):
    """Keywords that every loss takes after those of PyTorch.

    Attributes:
        sample_weight: A factor for each row's loss, of the shape that the loss has with reduction ``none``, in a
            floating dtype. It does not change what ``mean`` divides by. Ones if None.
        grad: Whether to return the gradient with respect to the input.
        grad_output: The incoming gradient, of the loss's shape; ones if None.
        outputs: Any of ``lse`` (not for the binary losses), ``probabilities``, ``log_probabilities`` and
            ``predictions``; `Result` says what they are.
        empty: What ``mean`` is when nothing counts: ``nan``, as in PyTorch, or ``zero``.
        series: Name under which the server adds the loss up in its metrics: up to 64 letters, digits and any of
            ``_.:/-``.
    """

    sample_weight: npt.ArrayLike | None
    grad: bool
    grad_output: npt.ArrayLike | None
    outputs: Collection[str]
    empty: str
    series: str


class Common(Options, total=False):
    """Keywords that every loss takes after those of PyTorch: see `Options`.

    Attributes:
        timeout: Seconds that this call may take; the client's if None.
    """

    timeout: float | None


def evaluate_request(
    spec: v1.LossSpec,
    inputs: npt.NDArray[Any],
    targets: npt.NDArray[Any],
    reduction: str,
    *,
    sample_weight: npt.ArrayLike | None = None,
    grad: bool = False,
    grad_output: npt.ArrayLike | None = None,
    outputs: Collection[str] = (),
    empty: str = "nan",
    series: str = "",
    put: Put = encode,
) -> v1.EvaluateRequest:
    """The request of any loss: its own options, and those that all of them have."""
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("empty", empty, ("nan", "zero"))
    request = v1.EvaluateRequest(spec=spec)
    assign(request, "series", series, "text")
    request.spec.reduction = REDUCTIONS[reduction]
    request.spec.zero_when_empty = empty == "zero"
    _ask_for_gradient(request.outputs, grad, grad_output, put)
    request.outputs.outputs.extend(_outputs(outputs))
    if sample_weight is not None:
        put(floating_array("sample_weight", sample_weight), request.sample_weight, "sample_weight")
    put(targets, request.target, "target")
    put(inputs, request.input, "input")
    return request


def set_weight(options: _Weighted, weight: npt.ArrayLike | str | None) -> None:
    """Sets a loss's weights, or how the server computes them."""
    if isinstance(weight, str):
        check_choice("weight", weight, WEIGHTINGS)
        options.weighting = WEIGHTINGS[weight]
    elif weight is not None:
        encode(floating_array("weight", weight), options.weight, "weight")


def _ask_for_gradient(outputs: v1.OutputSpec, grad: bool, grad_output: npt.ArrayLike | None, put: Put) -> None:
    check_choice("grad", grad, (False, True))
    if grad_output is not None and not grad:
        raise invalid_argument("grad_output", "expected grad=True beside it, got grad=False")
    if grad:
        outputs.gradient.SetInParent()
    if grad_output is not None:
        put(floating_array("grad_output", grad_output), outputs.gradient.grad_output, "grad_output")


def _outputs(outputs: Collection[str]) -> "set[v1.Output.ValueType]":
    if isinstance(outputs, str):
        raise invalid_argument("outputs", f"expected a collection of names, as in ({outputs!r},), got {outputs!r}")
    for output in outputs:
        check_choice("outputs", output, OUTPUTS)
    return {OUTPUTS[output] for output in outputs}


def check_size(inputs: npt.NDArray[Any], targets: npt.NDArray[Any]) -> None:
    size = inputs.nbytes + targets.nbytes
    if size > MAX_BATCH_BYTES:
        raise ResourceExhaustedError(f"input and target have {size} bytes, and a message holds {MAX_BATCH_BYTES}")


def assign(message: Message, argument: str, value: object, expected: str) -> None:
    """Sets a field that has the argument's name."""
    try:
        setattr(message, argument, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid_argument(argument, f"expected {expected}, got {value!r}") from error


def to_result(response: v1.EvaluateResponse, gradient: npt.NDArray[Any] | None = None) -> Result:
    """The answer; the gradient is given where it is not in the response."""
    return Result(
        loss=decode(response.loss, "loss"),
        loss_sum=response.loss_sum,
        weight_sum=response.weight_sum,
        row_count=response.row_count,
        ignored_count=response.ignored_count,
        grad=_optional(response, "gradient") if gradient is None else gradient,
        lse=_optional(response, "log_sum_exp"),
        probabilities=_optional(response, "probabilities"),
        log_probabilities=_optional(response, "log_probabilities"),
        predictions=_optional(response, "predictions"),
        correct_count=response.correct_count if response.HasField("correct_count") else None,
    )


def _optional(response: v1.EvaluateResponse, field: Output) -> npt.NDArray[Any] | None:
    return decode(getattr(response, field), field) if response.HasField(field) else None


def check_choice(argument: str, value: object, choices: Collection[object]) -> None:
    # By type too, since an array is equal to nothing and everything, and 1 to True.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise invalid_argument(argument, f"expected one of {', '.join(map(repr, choices))}, got {value!r}")
