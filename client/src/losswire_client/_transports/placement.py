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

    def __init__(
        self, evaluation: Evaluation, pool: RegionPool, most_regions: int, wire: Wire, deadline: Deadline
    ) -> None:
        self.is_complete = False
        self._evaluation = evaluation
        self._pool = pool
        self._most_regions = most_regions
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
        copied = [name for name in self._evaluation.arrays if not self._is_there(name, tensor_in(request, name))]
        await self._take([self._nbytes(name) for name in copied], self._gradient_bytes(request))
        for name, held in zip(copied, self._held, strict=False):  # the gradient's may follow
            await self._copy(name, held, tensor_in(request, name))
        if self._gradient is not None:
            request.outputs.gradient.destination.region_id = self._held[-1].region.region_id
        self.is_complete = True
        return request

    def result(self, response: v1.EvaluateResponse) -> Result:
        """The result. Its gradient lies in shared memory if it has a place there."""
        with understood():
            arrays = read_arrays(response)
            if self._gradient is not None and response.gradient.HasField("shared_memory"):
                arrays["gradient"] = self._gradient
            return to_result(response, arrays, self._evaluation)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        held, self._held, self._gradient = self._held, [], None
        if error is not None:
            # The server may still write the gradient of a call that was given up, so other calls must not get its
            # regions.
            for one in held:
                self._pool.discard(one)
        if held:
            held.clear()  # before others hear of it
            self._pool.end_call()

    def _is_there(self, name: str, message: v1.Tensor) -> bool:
        """Whether the server finds an array without a copy in a region: it lies in one, or is sent with the request."""
        array, dtype = self._evaluation.arrays[name], self._evaluation.wire_dtype_of(name)
        span = self._pool.find(array) if array.dtype == dtype else None
        if span is not None:
            message.shared_memory.CopyFrom(span)
        elif self._nbytes(name) < LEAST_BYTES:
            with np.errstate(over="ignore"):  # infinity is right if the wire dtype is too narrow
                message.data = to_bytes(array.astype(dtype, copy=False))
        else:
            return False
        return True

    def _nbytes(self, name: str) -> int:
        return self._evaluation.arrays[name].size * self._evaluation.wire_dtype_of(name).itemsize

    def _gradient_bytes(self, request: v1.EvaluateRequest) -> int:
        """Size of the gradient's place; 0 if it needs none."""
        nbytes = self._evaluation.input.size * self._evaluation.wire_dtype.itemsize
        return nbytes if request.outputs.HasField("gradient") and nbytes >= LEAST_BYTES else 0

    async def _take(self, copied: list[int], gradient: int) -> None:
        """Takes all regions at once: calls that took one after the other would wait for each other."""
        sizes = [*copied, gradient] if gradient else copied
        if sizes:
            self._held = await self._pool.take(sizes, self._most_regions, self._wire, self._deadline)
            self._pool.begin_call()
        if gradient:
            dtype = self._evaluation.wire_dtype.newbyteorder("=")
            self._gradient = self._held[-1].array(self._evaluation.input.shape, dtype)

    async def _copy(self, name: str, held: Held, message: v1.Tensor) -> None:
        array, dtype = self._evaluation.arrays[name], self._evaluation.wire_dtype_of(name)
        await self._wire.work(_copy, held.array(array.shape, dtype.newbyteorder("<")), array)
        message.shared_memory.region_id = held.region.region_id


def _copy(into: npt.NDArray[Any], array: npt.NDArray[Any]) -> None:
    with np.errstate(over="ignore"):  # as in `_is_there`
        np.copyto(into, array, casting="unsafe")
