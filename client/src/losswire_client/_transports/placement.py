"""Places in shared memory for the arrays of one call."""

from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.fields import tensor_in
from losswire.tensors import to_bytes
from losswire_client._deadline import Deadline
from losswire_client._request.evaluation import Evaluation
from losswire_client._result import Result
from losswire_client._transports.answers import read_arrays, to_result, understood
from losswire_client._transports.region import Held
from losswire_client._transports.region_pool import RegionPool
from losswire_client._transports.wire import Wire

LEAST_BYTES = 64 * 2**10  # smaller arrays are sent with the request: a place costs more than their copies


class Placement:
    """Finds or makes places for an evaluation's arrays. They last as long as a `with` block around the call.

    Attributes:
        is_complete: Whether all places have been found or made.
    """

    def __init__(self, evaluation: Evaluation, pool: RegionPool, wire: Wire, deadline: Deadline) -> None:
        self.is_complete = False
        self._evaluation = evaluation
        self._pool = pool
        self._wire = wire
        self._deadline = deadline
        self._held: list[Held] = []
        self._gradient: npt.NDArray[Any] | None = None

    async def request(self) -> v1.EvaluateRequest:
        """The request, with the places of the arrays, and the place where the server is to write the gradient.

        Raises:
            LosswireError: No region can be leased.
        """
        request = self._evaluation.new_request()
        for name in self._evaluation.arrays:
            await self._place(name, tensor_in(request, name))
        if request.outputs.HasField("gradient"):
            await self._place_gradient(request.outputs.gradient.destination)
        self.is_complete = True
        return request

    def result(self, response: v1.EvaluateResponse) -> Result:
        """The result. Its gradient lies in shared memory if it has a place there."""
        with understood():
            arrays = read_arrays(response)
            if self._gradient is not None and response.gradient.HasField("shared_memory"):
                arrays["gradient"] = self._gradient
            return to_result(response, arrays, self._evaluation.grad_dtype)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._undo()
        self._held.clear()
        self._gradient = None

    def _undo(self) -> None:
        # The server may still write the gradient of a call that was given up, so other calls must not get its regions.
        for held in self._held:
            self._pool.discard(held)

    async def _place(self, name: str, message: v1.Tensor) -> None:
        array, dtype = self._evaluation.arrays[name], self._evaluation.wire_dtype_of(name)
        span = self._pool.find(array) if array.dtype == dtype else None
        if span is None and array.size * dtype.itemsize < LEAST_BYTES:
            with np.errstate(over="ignore"):  # infinity is right if the wire dtype is too narrow
                message.data = to_bytes(array.astype(dtype, copy=False))
            return
        message.shared_memory.CopyFrom(span or await self._copied(array, dtype))

    async def _copied(self, array: npt.NDArray[Any], dtype: np.dtype[Any]) -> v1.SharedMemorySpan:
        held = await self._take(array.size * dtype.itemsize)
        await self._wire.work(_copy, held.array(array.shape, dtype.newbyteorder("<")), array)
        return v1.SharedMemorySpan(region_id=held.region.region_id)

    async def _place_gradient(self, destination: v1.SharedMemorySpan) -> None:
        shape, dtype = self._evaluation.input.shape, self._evaluation.wire_dtype.newbyteorder("=")
        nbytes = self._evaluation.input.size * dtype.itemsize
        if nbytes >= LEAST_BYTES:
            held = await self._take(nbytes)
            self._gradient = held.array(shape, dtype)
            destination.region_id = held.region.region_id

    async def _take(self, nbytes: int) -> Held:
        held = await self._pool.take(nbytes, self._wire, self._deadline)
        self._held.append(held)
        return held


def _copy(into: npt.NDArray[Any], array: npt.NDArray[Any]) -> None:
    with np.errstate(over="ignore"):  # as in `_place`
        np.copyto(into, array, casting="unsafe")
