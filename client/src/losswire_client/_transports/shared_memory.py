"""Batches whose arrays are not sent. The arrays lie in, or are copied to, memory that the server reads too."""

import logging
import math
from collections.abc import Iterable
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from losswire.dtypes import BY_NAME
from losswire.losses import OUTPUTS, RESULT_TENSORS
from losswire.tensors import MAX_DIMENSIONS
from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import (
    LosswireError,
    NotServedError,
    PermissionDeniedError,
    RegionLostError,
    ResourceExhaustedError,
    invalid_argument,
    shown,
)
from losswire_client._request.evaluation import Evaluation
from losswire_client._result import Result
from losswire_client._tracing.active import note
from losswire_client._transports.placement import Placement
from losswire_client._transports.region_pool import RegionPool
from losswire_client._transports.sender import Sender
from losswire_client._transports.served import Served
from losswire_client._transports.wire import Wire

MAX_ELEMENTS = 2**58  # int64 can count their bytes, and the bytes of a region a little larger
WIDE_OUTPUTS = {OUTPUTS[tensor.name] for tensor in RESULT_TENSORS if tensor.wide and tensor.name in OUTPUTS}
Refusals: TypeAlias = type[LosswireError] | tuple[type[LosswireError], ...]
REFUSALS = (NotServedError, PermissionDeniedError, ResourceExhaustedError)
USUAL_CALLS = 128  # that a server takes at a time which is too old to tell

log = logging.getLogger("losswire_client")


class SharedMemory:
    """The memory that one client shares with its server. May be used from any thread.

    Args:
        sender: Sends the requests.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._pool = RegionPool()
        self._refused_by: Capabilities | None = None  # what the server served when it refused to share

    async def empty(
        self, shape: int | tuple[int, ...], dtype: npt.DTypeLike, served: Served, wire: Wire, deadline: Deadline
    ) -> npt.NDArray[Any]:
        """An array that lies in a region: see `Client.empty`."""
        lengths, known = _checked_shape(shape), _checked_dtype(dtype)
        nbytes = math.prod(lengths) * known.itemsize
        if not nbytes:
            return np.empty(lengths, known)
        most = _most_regions(await served.get(wire, deadline))
        self._pool.ask_again()
        (held,) = await self._pool.take([nbytes], most, wire, deadline)
        return held.array(lengths, known)

    def holds(self, array: npt.NDArray[Any]) -> bool:
        """Whether an array lies in shared memory."""
        return self._pool.find(array) is not None

    def suits(self, evaluation: Evaluation, served: Capabilities) -> bool:
        """Whether a batch suits shared memory. Wide outputs do not, since they come in a message."""
        in_message = WIDE_OUTPUTS.intersection(evaluation.request.outputs.outputs)
        return not in_message and 2 * evaluation.nbytes <= served.shared_memory_bytes

    async def evaluate(
        self, evaluation: Evaluation, served: Capabilities, wire: Wire, deadline: Deadline
    ) -> Result | None:
        """Evaluates like `try_evaluate` for a caller who wants shared memory, and is told why there is none.

        Raises:
            NotServedError: This server shares no memory.
            PermissionDeniedError: The server is not on this machine, or belongs to another user.
            LosswireError: The call failed.
        """
        attempt = partial(self._unless_refused, ResourceExhaustedError, evaluation, served, wire, deadline)
        try:
            return await attempt()
        except RegionLostError:  # the server has restarted: copy all arrays to regions of the new server
            self._pool.lose_all()
        return await attempt()

    async def try_evaluate(
        self, evaluation: Evaluation, served: Capabilities, wire: Wire, deadline: Deadline
    ) -> Result | None:
        """Evaluates a batch whose large arrays lie in regions, or are copied there.

        Returns None if the server does not share enough memory. If it shares none with this client, this returns None
        at once until the server is asked again what it serves.

        Raises:
            LosswireError: The call failed.
        """
        if served is self._refused_by:
            return None
        try:
            return await self._unless_refused(REFUSALS, evaluation, served, wire, deadline)
        except RegionLostError:
            self._pool.lose_all()
        return None

    def close(self) -> None:
        """Ends the leases; arrays keep their memory."""
        self._pool.close()

    async def _unless_refused(
        self,
        refusals: Refusals,
        evaluation: Evaluation,
        served: Capabilities,
        wire: Wire,
        deadline: Deadline,
    ) -> Result | None:
        """The result; None if there is no memory for it, for one of these reasons."""
        placement = Placement(evaluation, self._pool, _most_regions(served), wire, deadline)
        try:
            with placement:
                note("transport", "shared_memory")
                request = await placement.request()
                return placement.result(await self._sender.send(request, wire, deadline))
        except refusals as error:
            if placement.is_complete:  # the server refused the evaluation, not the memory
                raise
            self._put_off(error, served)
        return None

    def _put_off(self, refusal: LosswireError, served: Capabilities) -> None:
        log.debug("no shared memory for this batch: %s", refusal)
        if not isinstance(refusal, ResourceExhaustedError):  # else it may share some later, or for a smaller batch
            self._refused_by = served


def _most_regions(served: Capabilities) -> int:
    """How many regions a client may have: each is a call under way, and as many calls remain for evaluations."""
    limits = served.caller_limits
    calls = min(served.max_connection_calls or USUAL_CALLS, limits.max_requests or USUAL_CALLS)
    return min(calls // 2, limits.max_leases or calls)


def _checked_shape(shape: int | tuple[int, ...]) -> tuple[int, ...]:
    try:
        lengths = tuple(cast(Iterable[int], shape))
    except TypeError:
        lengths = (cast(int, shape),)
    if not all(isinstance(length, int | np.integer) and length >= 0 for length in lengths):
        raise invalid_argument("shape", f"expected lengths of at least 0, got {shown(shape)}")
    lengths = tuple(int(length) for length in lengths)
    if len(lengths) > MAX_DIMENSIONS or math.prod(filter(None, lengths)) > MAX_ELEMENTS:
        problem = f"expected at most {MAX_DIMENSIONS} dimensions and {MAX_ELEMENTS} elements, got {shown(shape)}"
        raise invalid_argument("shape", problem)
    return lengths


def _checked_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    try:
        known = np.dtype(dtype)
    except Exception as error:
        raise invalid_argument("dtype", f"expected a dtype that numpy knows, got {shown(dtype)}") from error
    if known.name not in BY_NAME or not known.isnative:
        raise invalid_argument("dtype", f"expected one of {', '.join(BY_NAME)}, got {known}")
    return known
