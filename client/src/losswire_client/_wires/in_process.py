"""The wires of `losswire_client.testing`: they end in this process."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from losswire import v1
from losswire_client._deadline import Deadline
from losswire_client._errors import LosswireError, NotServedError, translated
from losswire_client._transports.region import Region
from losswire_client._transports.stream import Stream
from losswire_client._wires.endpoint import Endpoint

NAME = "the service in this process"

T = TypeVar("T")


class InProcessEndpoint(Endpoint):
    """Where the service is that needs no address."""

    def __init__(self) -> None:
        super().__init__("localhost", tls=None, token=None)

    @property
    def name(self) -> str:
        return NAME


class InProcessWire:
    """What `Wire` does, without one.

    Args:
        service: A ``losswire_server.in_process.InProcess``.
        failures: What the next calls end with instead of an answer.
    """

    is_broken = False

    def __init__(self, service: Any, failures: deque[LosswireError]) -> None:
        self._service = service
        self._failures = failures

    def evaluate(self, request: v1.EvaluateRequest, deadline: Deadline) -> v1.EvaluateResponse:
        answer = self._answer(self._service.call, "Evaluate", request.SerializeToString(), deadline)
        return v1.EvaluateResponse.FromString(answer)

    def max_requests(self, _deadline: Deadline) -> int:
        """Of a message of several, which would save nothing here."""
        return 0

    def evaluate_stream(self, stream: Stream, deadline: Deadline) -> None:
        for answer in self._answer(self._service.stream, "EvaluateStream", stream.messages(), deadline):
            stream.take(answer)

    def get_capabilities(self, deadline: Deadline) -> v1.GetCapabilitiesResponse:
        request = v1.GetCapabilitiesRequest()
        answer: v1.GetCapabilitiesResponse = self._answer(self._service.call, "GetCapabilities", request, deadline)
        return answer

    def check_health(self, deadline: Deadline) -> float:
        start = time.perf_counter()
        self.get_capabilities(deadline)
        return time.perf_counter() - start

    def lease(self, _size: int, _deadline: Deadline) -> Region:
        raise NotServedError("a service in this process leases no shared memory")

    def work(self, function: Callable[..., T], *arguments: object) -> T:
        return function(*arguments)

    def close(self) -> None:
        """The service may have other clients."""

    def _answer(self, how: Callable[..., T], method: str, request: object, deadline: Deadline) -> T:
        if self._failures:
            raise self._failures.popleft()
        with translated(NAME, deadline.seconds):
            return how(method, request, deadline.remaining())


class InProcessAioWire:
    """The same, awaited."""

    is_broken = False

    def __init__(self, wire: InProcessWire) -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(asyncio.to_thread, getattr(self._wire, name))
