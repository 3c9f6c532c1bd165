"""From arguments to an evaluation that any transport can carry. No I/O: every kind of client shares it."""

from collections.abc import Collection
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from losswire import v1
from losswire.dtypes import BY_NAME
from losswire.rows import RowLayout
from losswire.tensors import encode
from losswire_client._errors import invalid_argument, shown
from losswire_client._request.arrays import floating_array
from losswire_client._request.form_checks import FLOATING, is_floating

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
BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
OWN_ARRAYS = ("weight", "pos_weight")  # whose place is in the message of the loss's own options


class Options(TypedDict, total=False):
    """Keywords that every loss takes after those of PyTorch.

    Attributes:
        sample_weight: A factor for each row's loss, of the shape that the loss has with reduction ``none``, in a
            floating dtype. It does not change what ``mean`` divides by. Ones if None.
        grad: Whether to return the gradient with respect to the input.
        grad_output: The incoming gradient, of the loss's shape; ones if None.
        outputs: Any of ``lse`` (not for the binary losses), ``probabilities``, ``log_probabilities`` and
            ``predictions``, each at most once; `Result` says what they are.
        empty: What ``mean`` is when nothing counts: ``nan``, as in PyTorch, or ``zero``.
        series: Name under which the server adds the loss up in its metrics: up to 64 letters, digits and any of
            ``_.:/-``.
        wire_dtype: A narrower dtype in which the input travels, and its gradient back: fewer bytes for less precision,
            as ``docs/numerics.md`` measures. Results are as if the input had been rounded to it, but the gradient still
            has the input's dtype. The input's own if None.
        strict: Whether to refuse numbers that the loss takes but can hardly mean: probabilities as logits, logits as
            log-probabilities, targets of several classes as probabilities. To look at them takes up to a pass.
    """

    sample_weight: npt.ArrayLike | None
    grad: bool
    grad_output: npt.ArrayLike | None
    outputs: Collection[str]
    empty: str
    series: str
    wire_dtype: str | None
    strict: bool


class Common(Options, total=False):
    """Keywords that every loss takes after those of PyTorch: see `Options`.

    Attributes:
        timeout: Seconds that this call may take; the client's if None.
    """

    timeout: float | None


class Evaluation:
    """A request, and beside it the arrays whose elements are not in it yet. Nothing here is checked but its type.

    Attributes:
        request: All but the elements of `arrays`, and of `inline` before `encode_inline`.
        arrays: By names of arguments, those that have something for each row; the input comes last.
        inline: The others, which travel within the request whatever the transport.
        weighting: How the server computes weights of classes; None if it does not.
        wire_dtype: In which the input travels, and its gradient unless it is asked for in another.
        strict: Whether numbers that can hardly be meant are refused.
    """

    def __init__(
        self,
        loss: str,
        input: npt.ArrayLike,
        target: npt.NDArray[Any],
        reduction: str,
        *,
        sample_weight: npt.ArrayLike | None = None,
        grad: bool = False,
        grad_output: npt.ArrayLike | None = None,
        outputs: Collection[str] = (),
        empty: str = "nan",
        series: str = "",
        wire_dtype: str | None = None,
        strict: bool = False,
    ) -> None:
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("empty", empty, ("nan", "zero"))
        check_choice("strict", strict, (False, True))
        x = floating_array("input", input)
        self.loss = loss
        self.arrays: dict[str, npt.NDArray[Any]] = {"target": target}
        self.inline: dict[str, npt.NDArray[Any]] = {}
        self.weighting: str | None = None
        self.strict = strict
        self.wire_dtype = _wire_dtype(wire_dtype, x).newbyteorder("<")
        self.request = v1.EvaluateRequest()
        assign(self.request, "series", series, "text")
        self.request.spec.reduction = REDUCTIONS[reduction]
        self.request.spec.zero_when_empty = empty == "zero"
        self.options.SetInParent()
        self.request.outputs.outputs.extend(_outputs(outputs))
        if sample_weight is not None:
            self.arrays["sample_weight"] = floating_array("sample_weight", sample_weight)
        self._ask_for_gradient(grad, grad_output, by_rows=reduction == "none")
        self.arrays["input"] = x

    @property
    def options(self) -> Any:
        """The message of the loss's own options."""
        return getattr(self.request.spec, self.loss)

    @property
    def input(self) -> npt.NDArray[Any]:
        return self.arrays["input"]

    @property
    def grad_dtype(self) -> np.dtype[Any]:
        """Of the gradient that the caller gets."""
        return self.input.dtype.newbyteorder("=")

    @property
    def layout(self) -> RowLayout:
        """Of an input that has elements."""
        return RowLayout.of(self.input.shape, binary=self.loss in BINARY)

    @property
    def nbytes(self) -> int:
        """Bytes of elements that travel to the server."""
        return sum(array.size * self.wire_dtype_of(name).itemsize for name, array in self.arrays.items())

    def wire_dtype_of(self, name: str) -> np.dtype[Any]:
        """In which an array travels."""
        return self.wire_dtype if name == "input" else self.arrays[name].dtype

    def new_request(self) -> v1.EvaluateRequest:
        """A copy of `request` to be filled, since an evaluation may be sent more than once."""
        request = v1.EvaluateRequest()
        request.CopyFrom(self.request)
        return request

    def tensor(self, name: str, request: v1.EvaluateRequest) -> v1.Tensor:
        """Where an array belongs in a request."""
        if name == "grad_output":
            return request.outputs.gradient.grad_output
        own = name in OWN_ARRAYS
        place: v1.Tensor = getattr(getattr(request.spec, self.loss) if own else request, name)
        return place

    def set_weight(self, weight: npt.ArrayLike | str | None) -> None:
        """Sets the loss's weights, or how the server computes them."""
        if isinstance(weight, str):
            check_choice("weight", weight, WEIGHTINGS)
            self.weighting = weight
            self.options.weighting = WEIGHTINGS[weight]
        elif weight is not None:
            array = floating_array("weight", weight)
            if self.loss in BINARY and array.shape == self.input.shape:
                self.arrays = {"weight": array, **self.arrays}
            else:
                self.inline["weight"] = array

    def encode_inline(self) -> None:
        """Puts the arrays into the request that belong there."""
        for name, array in self.inline.items():
            encode(array, self.tensor(name, self.request), name)

    def _ask_for_gradient(self, grad: bool, grad_output: npt.ArrayLike | None, *, by_rows: bool) -> None:
        check_choice("grad", grad, (False, True))
        if grad:
            self.request.outputs.gradient.SetInParent()
        if grad_output is not None:
            arrays = self.arrays if by_rows else self.inline
            arrays["grad_output"] = floating_array("grad_output", grad_output)


def assign(message: Message, argument: str, value: object, expected: str) -> None:
    """Sets a field that has the argument's name."""
    try:
        setattr(message, argument, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid_argument(argument, f"expected {expected}, got {shown(value)}") from error


def check_choice(argument: str, value: object, choices: Collection[object]) -> None:
    # By type too, since an array is equal to nothing and everything, and 1 to True.
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return
    raise invalid_argument(argument, f"expected one of {', '.join(map(repr, choices))}, got {shown(value)}")


def _outputs(outputs: Collection[str]) -> "list[v1.Output.ValueType]":
    if isinstance(outputs, str | np.ndarray) or not isinstance(outputs, Collection):
        example = outputs if isinstance(outputs, str) else "predictions"
        problem = f"expected a collection of names, as in ({example!r},), got {shown(outputs)}"
        raise invalid_argument("outputs", problem)
    for output in outputs:
        check_choice("outputs", output, OUTPUTS)
    return [OUTPUTS[output] for output in outputs]


def _wire_dtype(name: str | None, x: npt.NDArray[Any]) -> np.dtype[Any]:
    if name is None:
        return x.dtype
    check_choice("wire_dtype", name, FLOATING)
    if not is_floating(x):  # and so not to be made right by the way
        return x.dtype
    wire = BY_NAME[name].numpy
    if wire != x.dtype and wire.itemsize >= x.dtype.itemsize:
        raise invalid_argument("wire_dtype", f"expected a dtype narrower than the input's {x.dtype}, got {name!r}")
    return wire
