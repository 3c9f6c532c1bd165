"""Evaluations as a stream of slabs. No I/O: a wire sends the messages, and hands in the answers."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.fields import tensor_in
from losswire.forms import ahead_of_input
from losswire.frames import REQUESTS, RESPONSES, SlabFrame
from losswire.losses import RESULT_TENSORS, ResultTensor, heads_of
from losswire.tensors import to_bytes
from losswire_client._errors import InternalError, ResourceExhaustedError
from losswire_client._request.evaluation import Evaluation
from losswire_client._result import Result
from losswire_client._transports.answers import FIELDS, Arrays, read_arrays, to_result, understood
from losswire_client._transports.row_parts import RowElements, part_of

TENSORS: Mapping[str, ResultTensor] = {tensor.field: tensor for tensor in RESULT_TENSORS}
INLINE_SHARE = 4  # arrays of up to a quarter of a slab travel in the header


class Stream:
    """One evaluation, cut into slabs.

    Args:
        evaluation: The evaluation. Its input must have elements.
        slab_bytes: How large a slab should be. A larger row is a slab of its own.
        max_message_bytes: The largest message that the server takes.

    Raises:
        ResourceExhaustedError: A row is larger than a message may be.
    """

    def __init__(self, evaluation: Evaluation, slab_bytes: int, max_message_bytes: int) -> None:
        self._evaluation = evaluation
        self._layout = evaluation.layout
        inline_bytes = slab_bytes // INLINE_SHARE
        self._in_slabs = {
            name: RowElements(array, self._layout, evaluation.wire_dtype_of(name))
            for name, array in evaluation.arrays.items()
            if name == "input" or array.nbytes > inline_bytes
        }
        self._slab_bytes = slab_bytes
        self._results: Arrays = {}
        self._rows_received = 0
        self._outcome: Result | None = None
        row_bytes = self._row_bytes(self._in_slabs)
        if row_bytes + 2**10 > max_message_bytes:
            size = f"a row has {row_bytes} bytes"
            raise ResourceExhaustedError(f"{size}, but the server takes messages of at most {max_message_bytes}")

    def messages(self) -> Iterator[bytes]:
        """The messages to send, made one by one on demand."""
        yield self._header()
        ahead = {self._ahead()} & set(self._in_slabs)
        yield from self._slabs({name: self._in_slabs[name] for name in ahead})
        yield from self._slabs({name: array for name, array in self._in_slabs.items() if name not in ahead})

    def take(self, message: bytes) -> None:
        """Takes a message of the answer.

        Raises:
            InternalError: By the contract another message should come now.
        """
        with understood():
            answer = RESPONSES.read(message)
            if isinstance(answer, SlabFrame):
                self._take_slab(answer)
            else:
                self._outcome = self._finished(answer)

    def result(self) -> Result:
        """The whole result.

        Raises:
            InternalError: No summary came.
        """
        if self._outcome is None:
            raise InternalError("the server ended the stream without a summary")
        return self._outcome

    def _header(self) -> bytes:
        evaluation, request = self._evaluation, self._evaluation.new_request()
        for name, array in evaluation.arrays.items():
            if name not in self._in_slabs:
                tensor_in(request, name).data = to_bytes(array)
        return v1.EvaluateStreamRequest(header=request).SerializeToString()

    def _slabs(self, arrays: dict[str, RowElements]) -> Iterator[bytes]:
        rows = max(1, self._slab_bytes // max(1, self._row_bytes(arrays)))
        for slab in self._layout.slabs(rows) if arrays else ():
            payloads = {name: array.elements(slab) for name, array in arrays.items()}
            yield REQUESTS.write(slab.first_row, slab.row_count, payloads)

    def _row_bytes(self, arrays: dict[str, RowElements]) -> int:
        return sum(array.row_bytes for array in arrays.values())

    def _ahead(self) -> str:
        """The argument that the contract wants ahead of the input; empty for none."""
        return ahead_of_input(self._evaluation.request, self._evaluation.arrays["target"].dtype.name)

    def _take_slab(self, slab: SlabFrame) -> None:
        rows = self._layout.slab_rows(slab.first_row, slab.row_count)
        if rows.first_row != self._rows_received:
            raise InternalError(f"the server sent rows from {rows.first_row} on, not from {self._rows_received} on")
        for field, data in slab.payloads.items():
            numbers = np.frombuffer(data, self._dtype(field))
            result = self._result(field, numbers.size // rows.row_count)
            into = part_of(result, self._layout, rows, wide=TENSORS[field].wide)
            np.copyto(into, numbers.reshape(into.shape), casting="unsafe")
        self._rows_received = rows.end_row

    def _result(self, field: str, width: int) -> npt.NDArray[Any]:
        """The array that collects a field's slabs, which have so many numbers a row.

        The gradient's array has the dtype of the caller's input.
        """
        if field not in self._results:
            dtype = self._evaluation.grad_dtype if field == "gradient" else self._dtype(field)
            self._results[field] = np.empty(self._shape(field, width), dtype)
        return self._results[field]

    def _shape(self, field: str, width: int) -> tuple[int, ...]:
        layout, request = self._layout, self._evaluation.request
        match TENSORS[field].width:
            case "top":
                return (*layout.row_shape, request.outputs.top_k)
            case "classes" if "head" in heads_of(request.spec):
                return layout.wide_shape(width)
            case "one":
                return layout.row_shape
        return layout.shape

    def _dtype(self, field: str) -> np.dtype[Any]:
        """The dtype in which a field travels by the contract."""
        if field == "gradient":
            return self._evaluation.wire_dtype
        if TENSORS[field].integer:
            return np.dtype("<i8")
        return np.dtype("<f8" if self._evaluation.wire_dtype == np.float64 else "<f4")

    def _finished(self, summary: v1.EvaluateResponse) -> Result:
        if self._results and self._rows_received < self._layout.row_count:
            raise InternalError(f"the server sent {self._rows_received} of {self._layout.row_count} rows")
        arrays = {**self._results, **read_arrays(summary)}
        if missing := [field for field in FIELDS if summary.HasField(field) and field not in arrays]:
            raise InternalError(f"the server sent no elements of {', '.join(missing)}")
        return to_result(summary, arrays, self._evaluation)
