"""What a client knows of its server, and how an evaluation goes there. No I/O: a wire does that."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy.typing as npt

from losswire_client._capabilities import Capabilities, RunLimits
from losswire_client._deadline import Deadline
from losswire_client._errors import NotServedError, OverloadedError, ResourceExhaustedError
from losswire_client._request.evaluation import Evaluation
from losswire_client._request.hints import hinting
from losswire_client._result import Result
from losswire_client._tracing.active import note
from losswire_client._transports.packs import Outcome
from losswire_client._transports.sender import Sender
from losswire_client._transports.served import Served
from losswire_client._transports.shared_memory import SharedMemory
from losswire_client._transports.stream import Stream
from losswire_client._transports.unary import read_whole, whole_request
from losswire_client._transports.wire import Wire

TRANSPORTS = ("auto", "unary", "stream", "shared_memory")
SMALL_BYTES = 2**18  # so little goes in one message, without asking the server first: shared memory gains nothing yet
LEAST_MESSAGE_BYTES = 2**12  # that every server takes, so that a refusal of so little has another reason


class Session:
    """One client's dealings with its server. May be used from any thread.

    Args:
        transport: One of `TRANSPORTS`.
        shares_memory: Whether ``auto`` may take shared memory, which is that of one server.
        coalesces: Whether small evaluations that are asked for at the same time travel together.
    """

    def __init__(self, transport: str, *, shares_memory: bool, coalesces: bool) -> None:
        self._transport = transport
        self._shares_memory = shares_memory
        self._served = Served()
        self._sender = Sender(self._served, coalesces=coalesces)
        self.shared = SharedMemory(self._sender)

    async def evaluate(self, evaluation: Evaluation, wire: Wire, deadline: Deadline) -> Result:
        with hinting(evaluation):
            attempt = partial(self._evaluate, evaluation, wire, deadline)
            return await self._served.trusting(attempt, wire, deadline)

    async def evaluate_together(self, requests: Sequence[bytes], wire: Wire, deadline: Deadline) -> list[Outcome]:
        """What comes of each of many small requests of one caller's."""
        attempt = partial(self._sender.send_together, requests, wire, deadline)
        return await self._served.trusting(attempt, wire, deadline)

    async def max_requests(self, wire: Wire, deadline: Deadline) -> int:
        """The most that the server takes in a message; 0 if it takes no such messages."""
        return (await self._served.get(wire, deadline)).max_batch_requests

    async def run_limits(self, wire: Wire, deadline: Deadline) -> RunLimits | None:
        """Limits of runs; None if the server keeps none."""
        return (await self._served.get(wire, deadline)).run_limits

    async def served(self, wire: Wire, deadline: Deadline) -> Capabilities:
        """What the server serves, by an answer that may be some time old."""
        return await self._served.get(wire, deadline)

    async def capabilities(self, wire: Wire, deadline: Deadline) -> Capabilities:
        """Asks, whatever was known before."""
        return await self._served.ask(wire, deadline)

    async def ping(self, wire: Wire, deadline: Deadline) -> float:
        """Seconds that the server takes to say that it is well."""
        return await wire.check_health(deadline)

    async def empty(
        self, shape: int | tuple[int, ...], dtype: npt.DTypeLike, wire: Wire, deadline: Deadline
    ) -> npt.NDArray[Any]:
        return await self.shared.empty(shape, dtype, self._served, wire, deadline)

    def forget(self) -> None:
        """The server may be another from now on."""
        self._served.forget()

    def close(self) -> None:
        self.shared.close()

    async def _evaluate(self, evaluation: Evaluation, wire: Wire, deadline: Deadline) -> Result:
        if self._transport == "shared_memory":
            return await self._shared_memory(evaluation, wire, deadline)
        if self._transport == "unary" or not evaluation.input.size:
            return await self._unary(evaluation, wire, deadline)
        if self._transport == "stream":
            return await self._stream(evaluation, wire, deadline)
        return await self._best(evaluation, wire, deadline)

    async def _best(self, evaluation: Evaluation, wire: Wire, deadline: Deadline) -> Result:
        """By shared memory where it can be, in one message what fits a slab, and as a stream what does not."""
        resident, known = self.shared.holds(evaluation.input), self._served.known
        if evaluation.nbytes <= _small_bytes(known) and not resident:
            try:
                return await self._unary(evaluation, wire, deadline)
            except ResourceExhaustedError as error:  # of a server that takes even less, as may turn out
                if known or isinstance(error, OverloadedError) or evaluation.nbytes < LEAST_MESSAGE_BYTES:
                    raise
        served = await self._served.get(wire, deadline)
        if resident or (self._shares_memory and self.shared.suits(evaluation, served)):
            result = await self.shared.try_evaluate(evaluation, served, wire, deadline)
            if result is not None:
                return result
        return await self._sent(evaluation, served, wire, deadline)

    async def _shared_memory(self, evaluation: Evaluation, wire: Wire, deadline: Deadline) -> Result:
        """By shared memory, or while that is used up like any other batch."""
        served = await self._served.get(wire, deadline)
        result = await self.shared.evaluate(evaluation, served, wire, deadline)
        return await self._sent(evaluation, served, wire, deadline) if result is None else result

    async def _sent(self, evaluation: Evaluation, served: Capabilities, wire: Wire, deadline: Deadline) -> Result:
        if evaluation.nbytes <= served.slab_bytes or "stream" not in served.transports:
            return await self._unary(evaluation, wire, deadline)
        return await self._stream(evaluation, wire, deadline)

    async def _unary(self, evaluation: Evaluation, wire: Wire, deadline: Deadline) -> Result:
        note("transport", "unary")
        if evaluation.nbytes <= SMALL_BYTES:
            request = whole_request(evaluation)
        else:
            request = await wire.work(whole_request, evaluation)
        return read_whole(await self._sender.send(request, wire, deadline), evaluation)

    async def _stream(self, evaluation: Evaluation, wire: Wire, deadline: Deadline) -> Result:
        note("transport", "stream")
        served = await self._served.get(wire, deadline)
        if "stream" not in served.transports:
            raise NotServedError("this server takes no streams")
        stream = Stream(evaluation, served.slab_bytes, served.max_message_bytes)
        await wire.evaluate_stream(stream, deadline)
        return stream.result()


def _small_bytes(known: Capabilities | None) -> int:
    return SMALL_BYTES if known is None else min(SMALL_BYTES, known.max_message_bytes // 2)
