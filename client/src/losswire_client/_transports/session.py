"""What a client knows of its server, and how an evaluation goes there. No I/O: flows say what is to be done."""

from typing import Any

import numpy.typing as npt

from losswire_client._capabilities import Capabilities, parse_capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import NotServedError
from losswire_client._flow import Flow, step
from losswire_client._request.evaluation import Evaluation
from losswire_client._request.hints import hinting
from losswire_client._result import Result
from losswire_client._transports.shared_memory import SharedMemory
from losswire_client._transports.stream import Stream
from losswire_client._transports.unary import read_whole, whole_request

TRANSPORTS = ("auto", "unary", "stream", "shared_memory")
SMALL_BYTES = 2**18  # so little goes in one message, without asking the server first: shared memory gains nothing yet


class Session:
    """One client's dealings with its server. May be used from any thread.

    Args:
        transport: One of `TRANSPORTS`.
        shares_memory: Whether ``auto`` may take shared memory, which is that of one server.
    """

    def __init__(self, transport: str, *, shares_memory: bool) -> None:
        self._transport = transport
        self._shares_memory = shares_memory
        self._capabilities: Capabilities | None = None
        self.shared = SharedMemory()

    def evaluate(self, evaluation: Evaluation, deadline: Deadline) -> Flow[Result]:
        with hinting(evaluation):
            return (yield from self._evaluate(evaluation, deadline))

    def _evaluate(self, evaluation: Evaluation, deadline: Deadline) -> Flow[Result]:
        if self._transport == "shared_memory":
            return self.shared.evaluate(evaluation, deadline)
        if self._transport == "unary" or not evaluation.input.size:
            return _unary(evaluation, deadline)
        if self._transport == "stream":
            return self._stream(evaluation, deadline)
        return self._best(evaluation, deadline)

    def capabilities(self, deadline: Deadline) -> Flow[Capabilities]:
        """Asks, whatever was known before."""
        self._capabilities = parse_capabilities((yield step("get_capabilities", deadline)))
        return self._capabilities

    def empty(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike, deadline: Deadline) -> Flow[npt.NDArray[Any]]:
        return self.shared.empty(shape, dtype, deadline)

    def forget(self) -> None:
        """The server may be another from now on."""
        self._capabilities = None

    def close(self) -> None:
        self.shared.close()

    def _best(self, evaluation: Evaluation, deadline: Deadline) -> Flow[Result]:
        """By shared memory where it can be, in one message what fits a slab, and as a stream what does not."""
        resident = self.shared.holds(evaluation.input)
        if evaluation.nbytes <= SMALL_BYTES and not resident:
            return (yield from _unary(evaluation, deadline))
        served = yield from self._served(deadline)
        if resident or (self._shares_memory and self.shared.suits(evaluation, served)):
            result = yield from self.shared.try_evaluate(evaluation, deadline)
            if result is not None:
                return result
        fits = evaluation.nbytes <= served.slab_bytes or "stream" not in served.transports
        return (yield from (_unary if fits else self._stream)(evaluation, deadline))

    def _stream(self, evaluation: Evaluation, deadline: Deadline) -> Flow[Result]:
        served = yield from self._served(deadline)
        if "stream" not in served.transports:
            raise NotServedError("this server takes no streams")
        stream = Stream(evaluation, served.slab_bytes, served.max_message_bytes)
        yield step("evaluate_stream", stream, deadline)
        return stream.result()

    def _served(self, deadline: Deadline) -> Flow[Capabilities]:
        """What the server serves; it is asked once, by the first call that wants to know."""
        return self._capabilities or (yield from self.capabilities(deadline))


def _unary(evaluation: Evaluation, deadline: Deadline) -> Flow[Result]:
    if evaluation.nbytes <= SMALL_BYTES:
        request = whole_request(evaluation)
    else:
        request = yield step("work", whole_request, evaluation)
    return read_whole((yield step("evaluate", request, deadline)), evaluation)
