"""From arguments to an evaluation that any transport can carry. No I/O: every kind of client shares it."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.dtypes import BY_NAME, FLOATING, of_numpy
from losswire.errors import FieldError
from losswire.fields import OWN_TENSORS, ROW_TENSORS, argument_of, tensor_in
from losswire.forms import Form, check
from losswire.losses import HEADS, LOSSES, OUTPUTS, REDUCTIONS, WEIGHTINGS, heads_of
from losswire.rows import RowLayout
from losswire.tensors import to_bytes
from losswire_client._errors import invalid_argument, shown
from losswire_client._request.arrays import floating_array, target_array
from losswire_client._request.fields import NUMBER, assign, assign_option, check_choice, check_reduction
from losswire_client._request.head import Head, named_head

BY_CLASS = "by_class"  # exact sums of each class too


class Evaluation:
    """A request, and the arrays whose elements are not in it yet.

    Attributes:
        request: The request; when complete it has everything except the elements of `arrays`.
        options: The message of the loss's own options, in the request.
        arrays: Arguments with elements for each row, by name; the input comes last.
        inline: All other arrays. They travel within the request, whatever the transport.
        wire_dtype: The dtype in which the input travels, and its gradient unless another dtype is asked for.
        strict: Whether numbers that are hardly meant are refused.
        exact: The exact sums that the caller gets. A run may need more of them.
        heads: Heads that were handed in, by the digests that the request has. A server may lack them.
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
        top_k: int = 0,
        divisor: float | None = None,
        empty: str = "nan",
        series: str = "",
        wire_dtype: str | None = None,
        strict: bool = False,
        exact: bool | str = False,
    ) -> None:
        check_reduction(reduction)
        check_choice("empty", empty, ("nan", "zero"))
        check_choice("strict", strict, (False, True))
        check_choice("exact", exact, (False, True, BY_CLASS))
        x = floating_array("input", input)
        self.loss = loss
        self.arrays: dict[str, npt.NDArray[Any]] = {"target": target}
        self.inline: dict[str, npt.NDArray[Any]] = {}
        self.strict = strict
        self.exact = exact
        self.heads: dict[str, Head] = {}
        self.wire_dtype = _wire_dtype(wire_dtype, x).newbyteorder("<")
        self.request = v1.EvaluateRequest()
        assign(self.request, "series", series, "text")
        self.request.spec.reduction = REDUCTIONS[reduction]
        self.request.spec.zero_when_empty = empty == "zero"
        self.options: Any = getattr(self.request.spec, loss)
        self.options.SetInParent()
        self.request.outputs.outputs.extend(_outputs(outputs))
        assign(self.request.outputs, "top_k", top_k, "an integer of 32 bits")
        if divisor is not None:
            assign(self.request.spec, "divisor", divisor, NUMBER)
        if exact:
            self.request.exact.by_class = exact == BY_CLASS
        if sample_weight is not None:
            self.arrays["sample_weight"] = floating_array("sample_weight", sample_weight)
        self._ask_for_gradient(grad, grad_output, by_rows=reduction == "none")
        self.arrays["input"] = x

    @property
    def is_elementwise(self) -> bool:
        """Whether each element is a row."""
        return LOSSES[self.loss].elementwise

    @property
    def input(self) -> npt.NDArray[Any]:
        return self.arrays["input"]

    @property
    def grad_dtype(self) -> np.dtype[Any]:
        """The dtype of the gradient that the caller gets."""
        return self.input.dtype.newbyteorder("=")

    @property
    def layout(self) -> RowLayout:
        """The row layout of the input, which must have elements."""
        return LOSSES[self.loss].layout(self.input.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of elements that travel to the server."""
        return sum(array.size * self.wire_dtype_of(name).itemsize for name, array in self.arrays.items())

    def facts(self) -> dict[str, str | int]:
        """What a trace tells about it: nothing of its elements."""
        rows = self.layout.row_count if self.input.size else 0
        width = "width" if "head" in heads_of(self.request.spec) else "classes"
        counts = {"rows": rows, width: self.input.size // rows if rows else 0, "bytes": self.nbytes}
        series = {"series": self.request.series} if self.request.series else {}
        return {"loss": self.loss, "dtype": self.wire_dtype.name, **counts, **series}

    def wire_dtype_of(self, name: str) -> np.dtype[Any]:
        """The dtype in which an array travels."""
        if name == "input":
            return self.wire_dtype
        return (self.inline if name in self.inline else self.arrays)[name].dtype

    def new_request(self) -> v1.EvaluateRequest:
        """A copy of `request` to be filled. It is a copy because an evaluation may be sent more than once."""
        request = v1.EvaluateRequest()
        request.CopyFrom(self.request)
        return request

    def set_option(self, name: str, value: Any) -> None:
        """Sets one of the loss's own options, or a tensor among them unless it is None."""
        if name == "weight" and isinstance(value, str):
            check_choice(name, value, WEIGHTINGS)
            self.options.weighting = WEIGHTINGS[value]
        elif name in HEADS:
            self._use_head(name, value)
        elif name in ROW_TENSORS:
            self._set_classes(name, value)
        elif name not in OWN_TENSORS:
            assign_option(self.options, name, value)
        elif value is not None:
            self._set_weight(name, floating_array(name, value))

    def complete(self) -> None:
        """Checks dtypes, shapes and options, and writes them into the request. The server checks elements.

        Raises:
            InvalidArgumentError: A dtype, a shape or an option is wrong.
        """
        arrays = {**self.arrays, **self.inline}
        try:
            check(self.request, {name: _form(array) for name, array in arrays.items()})
        except FieldError as error:
            raise invalid_argument(argument_of(error.field), error.problem) from error
        for name, array in arrays.items():
            message = tensor_in(self.request, name)
            message.dtype = self._wire_number(name)
            message.shape.extend(array.shape)
        for name, array in self.inline.items():
            tensor_in(self.request, name).data = to_bytes(array)

    def _use_head(self, argument: str, value: object) -> None:
        """Sets the option that names a head, from the head itself or from its name; None is for no head."""
        if value is not None or self.loss == "linear_cross_entropy":
            name, head = named_head(argument, value)
            assign(self.options, argument, name, "a text")
            if head is not None:
                self.heads[name] = head

    def _set_classes(self, name: str, value: npt.ArrayLike | None) -> None:
        """Takes an array of classes of each row."""
        if value is not None:
            self.arrays = {name: target_array(name, value), **self.arrays}

    def _set_weight(self, name: str, array: npt.NDArray[Any]) -> None:
        by_rows = name == "weight" and self.is_elementwise and array.shape == self.input.shape
        if by_rows and not self.request.HasField("run_key"):  # those of a run lie in the request
            self.arrays = {name: array, **self.arrays}
        else:
            self.inline[name] = array

    def _wire_number(self, name: str) -> v1.Dtype.ValueType:
        element = of_numpy(self.wire_dtype_of(name))
        return v1.Dtype.DTYPE_UNSPECIFIED if element is None else element.wire

    def _ask_for_gradient(self, grad: bool, grad_output: npt.ArrayLike | None, *, by_rows: bool) -> None:
        check_choice("grad", grad, (False, True))
        if grad:
            self.request.outputs.gradient.SetInParent()
        if grad_output is not None:
            arrays = self.arrays if by_rows else self.inline
            arrays["grad_output"] = floating_array("grad_output", grad_output)


def _form(array: npt.NDArray[Any]) -> Form:
    element = of_numpy(array.dtype)  # its name has no byte order
    return Form(str(array.dtype) if element is None else element.name, array.shape)


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
    if not _form(x).is_floating:  # a wire dtype must not turn a wrong input into a right one
        return x.dtype
    wire = BY_NAME[name].numpy
    if wire != x.dtype and wire.itemsize >= x.dtype.itemsize:
        raise invalid_argument("wire_dtype", f"expected a dtype narrower than the input's {x.dtype}, got {name!r}")
    return wire
