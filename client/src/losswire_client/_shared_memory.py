"""Batches that are not sent: their arrays lie, or are copied, where the server can read them.

A call goes so::

    with shared.placement(seconds, must=True) as placement:
        request = evaluate_request(..., put=placement.put)
        placement.ask_for_gradient(request, input)
        response = ...
        result = to_result(response, placement.gradient(response))
"""

import threading
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.dtypes import BY_NAME
from losswire.tensors import encode
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client._errors import (
    DeadlineExceededError,
    LosswireError,
    NotServedError,
    PermissionDeniedError,
    ResourceExhaustedError,
    UnavailableError,
    invalid_argument,
    translated,
)
from losswire_client._region import Held, Region
from losswire_client._region_pool import RegionPool

LEAST_BYTES = 64 * 2**10  # smaller arrays are sent with the request: a place costs more than their copies

NOT_TO_BE_HAD = (NotServedError, PermissionDeniedError, ResourceExhaustedError)


class SharedMemory:
    """The memory that one client shares with its server. May be used from any thread."""

    def __init__(self, stub: LossServiceStub, target: str) -> None:
        self._stub = stub
        self._target = target
        self.pool = RegionPool(self._lease)

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike, seconds: float) -> npt.NDArray[Any]:
        """An array that lies in a region: see `Client.empty`."""
        shape, dtype = _checked_shape(shape), _checked_dtype(dtype)
        nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        return self.pool.take(nbytes, seconds).array(shape, dtype) if nbytes else np.empty(shape, dtype)

    def holds(self, array: npt.NDArray[Any]) -> bool:
        """Whether an array lies where the server can read it."""
        return self.pool.find(array) is not None

    def placement(self, seconds: float, *, must: bool) -> "Placement":
        """Places for the arrays of one call.

        Args:
            seconds: How long the server may take to lease a region.
            must: Whether what cannot be placed is an error; else it is sent.
        """
        return Placement(self.pool, seconds, must=must)

    def close(self) -> None:
        """Ends the leases; arrays keep their memory."""
        self.pool.close()

    def _lease(self, size: int, seconds: float) -> Region:
        try:
            call = self._stub.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=size))
        except ValueError as error:  # so says grpcio, if another thread has closed the channel
            raise LosswireError("this client is closed") from error
        late = threading.Event()

        def give_up() -> None:
            late.set()
            call.cancel()

        timer = threading.Timer(seconds, give_up)
        timer.daemon = True
        timer.start()
        try:
            with translated(self._target, seconds):
                return Region(next(call), call.is_active, call.cancel)
        except BaseException as error:
            call.cancel()
            if late.is_set():
                raise DeadlineExceededError(f"no answer from {self._target} within {seconds:g} seconds") from error
            if isinstance(error, StopIteration):
                raise UnavailableError(f"the server at {self._target} is shutting down") from error
            raise
        finally:
            timer.cancel()


class Placement:
    """Where the arrays of one call are. To be used in a `with` block that ends with the call."""

    def __init__(self, pool: RegionPool, seconds: float, *, must: bool) -> None:
        self._pool = pool
        self._seconds = seconds
        self._must = must
        self._held: list[Held] = []
        self._gradient: npt.NDArray[Any] | None = None

    def put(self, array: npt.NDArray[Any], message: v1.Tensor, field: str) -> None:
        """Fills a message with an array: refers to where it lies, or copies it to a region; small ones are sent.

        Raises:
            FieldError: The array's dtype has no counterpart in the contract.
            LosswireError: There is no region to be had, and it must.
        """
        span = self._pool.find(array)
        if span is None and array.nbytes >= LEAST_BYTES and array.dtype.name in BY_NAME:
            span = self._copied(array)
        if span is None:
            encode(array, message, field)
            return
        message.dtype = BY_NAME[array.dtype.name].wire
        message.shape.extend(array.shape)
        message.shared_memory.CopyFrom(span)

    def ask_for_gradient(self, request: v1.EvaluateRequest, input: npt.NDArray[Any]) -> None:
        """Gives the gradient, if it is asked for and large, a region of its own."""
        if not request.outputs.HasField("gradient") or input.nbytes < LEAST_BYTES:
            return
        held = self._take(input.nbytes)
        if held is not None:
            self._gradient = held.array(input.shape, input.dtype.newbyteorder("="))
            request.outputs.gradient.destination.region_id = held.region.region_id

    def gradient(self, response: v1.EvaluateResponse) -> npt.NDArray[Any] | None:
        """The gradient, if it lies in a region."""
        return self._gradient if response.gradient.HasField("shared_memory") else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            # The server may still write the gradient of a call that was given up, where another's arrays would be.
            for held in self._held:
                self._pool.discard(held)
        self._held.clear()
        self._gradient = None

    def _copied(self, array: npt.NDArray[Any]) -> v1.SharedMemorySpan | None:
        held = self._take(array.nbytes)
        if held is None:
            return None
        np.copyto(held.array(array.shape, array.dtype.newbyteorder("<")), array)
        return v1.SharedMemorySpan(region_id=held.region.region_id)

    def _take(self, nbytes: int) -> Held | None:
        try:
            held = self._pool.take(nbytes, self._seconds)
        except NOT_TO_BE_HAD:
            if self._must:
                raise
            return None
        self._held.append(held)
        return held


def _checked_shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    lengths = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    if not all(isinstance(length, int | np.integer) and length >= 0 for length in lengths):
        raise invalid_argument("shape", f"expected lengths of at least 0, got {shape!r}")
    return tuple(int(length) for length in lengths)


def _checked_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        known = np.dtype(dtype)
    except TypeError as error:
        hint = "; numpy knows bfloat16 once ml_dtypes is imported" if dtype == "bfloat16" else ""
        raise invalid_argument("dtype", f"expected one that numpy knows, got {dtype!r}{hint}") from error
    if known.name not in BY_NAME or not known.isnative:
        raise invalid_argument("dtype", f"expected one of {', '.join(BY_NAME)}, got {known}")
    return known
