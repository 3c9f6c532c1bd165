"""Batches that are not sent: their arrays lie, or are copied, where the server reads them."""

import math
import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from losswire import v1
from losswire.dtypes import BY_NAME
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import (
    DeadlineExceededError,
    NotServedError,
    OverloadedError,
    PermissionDeniedError,
    RegionLostError,
    ResourceExhaustedError,
    UnavailableError,
    invalid_argument,
    translated,
)
from losswire_client._evaluation import Evaluation
from losswire_client._placement import Placement
from losswire_client._region import Region
from losswire_client._region_pool import RegionPool
from losswire_client._result import Result

REFUSALS = (NotServedError, PermissionDeniedError, ResourceExhaustedError)


class SharedMemory:
    """The memory that one client shares with its server. May be used from any thread."""

    def __init__(self, stub: LossServiceStub, target: str) -> None:
        self._stub = stub
        self._target = target
        self._pool = RegionPool(self._lease)
        self._not_before = 0.0  # by time.monotonic: when there may be memory again

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike, deadline: Deadline) -> npt.NDArray[Any]:
        """An array that lies in a region: see `Client.empty`."""
        lengths, known = _checked_shape(shape), _checked_dtype(dtype)
        nbytes = math.prod(lengths) * known.itemsize
        return self._pool.take(nbytes, deadline).array(lengths, known) if nbytes else np.empty(lengths, known)

    def holds(self, array: npt.NDArray[Any]) -> bool:
        """Whether an array lies where the server reads it."""
        return self._pool.find(array) is not None

    def suits(self, evaluation: Evaluation, served: Capabilities) -> bool:
        """Whether a batch is one for shared memory: answers come in a message, which must hold their arrays."""
        wide = {v1.Output.OUTPUT_PROBABILITIES, v1.Output.OUTPUT_LOG_PROBABILITIES}
        in_message = wide.intersection(evaluation.request.outputs.outputs)
        return not in_message and 2 * evaluation.nbytes <= served.shared_memory_bytes

    def evaluate(self, evaluation: Evaluation, deadline: Deadline) -> Result:
        """Evaluates a batch whose large arrays lie in regions, or are copied there.

        Raises:
            NotServedError: This server shares no memory.
            PermissionDeniedError: The server is not on this machine, or belongs to another user.
            ResourceExhaustedError: It never shares so much memory; as OverloadedError: not now.
            LosswireError: The call failed.
        """
        try:
            return self._evaluate(Placement(evaluation, self._pool, deadline), deadline)
        except RegionLostError:  # the server has restarted since; now all is copied, to regions of the new one
            self._pool.lose_all()
            return self._evaluate(Placement(evaluation, self._pool, deadline), deadline)

    def try_evaluate(self, evaluation: Evaluation, deadline: Deadline) -> Result | None:
        """The same, but None where there is no memory to be had, and another transport is to be taken.

        Costs nothing once the server has refused: for good, or for as long as it said.

        Raises:
            LosswireError: The call failed.
        """
        if time.monotonic() < self._not_before:
            return None
        placement = Placement(evaluation, self._pool, deadline)
        try:
            return self._evaluate(placement, deadline)
        except RegionLostError:
            self._pool.lose_all()
        except REFUSALS as error:
            if placement.is_complete:  # it is the evaluation that was refused
                raise
            self._put_off(error)
        return None

    def close(self) -> None:
        """Ends the leases; arrays keep their memory."""
        self._pool.close()

    def _evaluate(self, placement: Placement, deadline: Deadline) -> Result:
        with placement, translated(self._target, deadline.seconds):
            return placement.result(self._stub.Evaluate(placement.request(), timeout=deadline.remaining()))

    def _put_off(self, refusal: Exception) -> None:
        if isinstance(refusal, OverloadedError):
            self._not_before = time.monotonic() + refusal.retry_seconds
        elif not isinstance(refusal, ResourceExhaustedError):  # which a smaller batch need not be
            self._not_before = math.inf

    def _lease(self, size: int, deadline: Deadline) -> Region:
        call = self._stub.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=size))
        late = threading.Event()

        def give_up() -> None:
            late.set()
            call.cancel()

        timer = threading.Timer(deadline.remaining(), give_up)  # not a timeout of the call, which would end the lease
        timer.daemon = True
        timer.start()
        try:
            with translated(self._target, deadline.seconds):
                return Region(next(call), call.is_active, call.cancel)
        except BaseException as error:
            call.cancel()
            if late.is_set():
                text = f"no answer from {self._target} within {deadline.seconds:g} seconds"
                raise DeadlineExceededError(text) from error
            if isinstance(error, StopIteration):
                raise UnavailableError(f"the server at {self._target} is shutting down") from error
            raise
        finally:
            timer.cancel()


def _checked_shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    lengths = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    if not all(isinstance(length, int | np.integer) and length >= 0 for length in lengths):
        raise invalid_argument("shape", f"expected lengths of at least 0, got {shape!r}")
    return tuple(int(length) for length in lengths)


def _checked_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        known = np.dtype(dtype)
    except TypeError as error:
        raise invalid_argument("dtype", f"expected one that numpy knows, got {dtype!r}") from error
    if known.name not in BY_NAME or not known.isnative:
        raise invalid_argument("dtype", f"expected one of {', '.join(BY_NAME)}, got {known}")
    return known
