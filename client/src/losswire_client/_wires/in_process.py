"""The wire of `losswire_client.testing`. It ends in this process."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future
from functools import partial
from typing import Any, ParamSpec, TypeVar

from google.protobuf.message import Message

from losswire import v1
from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import LosswireError, NotServedError
from losswire_client._failures.statuses import translated
from losswire_client._tracing.active import call
from losswire_client._transports.packs import Outcome, pack, unpack
from losswire_client._transports.region import Region
from losswire_client._transports.stream import Stream
from losswire_client._transports.upload import Upload
from losswire_client._transports.wire import Wire
from losswire_client._wires.endpoint import HEAD_SERVICE, RUN_SERVICE, SERVICE, Endpoint

NAME = "the service in this process"

P = ParamSpec("P")
T = TypeVar("T")


class InProcessEndpoint(Endpoint):
    """Stands for the service of this process, which needs no address."""

    def __init__(self) -> None:
        super().__init__("localhost", tls=None, token=None)

    @property
    def name(self) -> str:
        return NAME


class InProcessWire(Wire):
    """Ends in this process, where the service answers in a thread of its own.

    Args:
        service: A ``losswire_server.in_process.InProcess``.
        failures: Errors with which the next calls end, one each, instead of an answer.
        awaited: Whether the calls are awaited in an event loop, which must not be blocked.
    """

    def __init__(self, service: Any, failures: deque[LosswireError], *, awaited: bool) -> None:
        self.is_broken = False
        self._service = service
        self._failures = failures
        self._awaited = awaited

    async def evaluate(self, request: v1.EvaluateRequest, deadline: Deadline) -> v1.EvaluateResponse:
        return await self._evaluate(request.SerializeToString(), deadline)

    async def evaluate_with_others(
        self,
        request: bytes,
        served: Capabilities,  # noqa: ARG002 - a wire's arguments
        deadline: Deadline,
    ) -> v1.EvaluateResponse:
        return await self._evaluate(request, deadline)  # to wait for other callers would save nothing here

    async def evaluate_together(self, requests: Sequence[bytes], deadline: Deadline) -> list[Outcome]:
        if len(requests) == 1:
            return [await self._evaluate(requests[0], deadline)]
        return unpack(await self._answer("BatchEvaluate", pack(requests), deadline), len(requests))

    async def evaluate_stream(self, stream: Stream, deadline: Deadline) -> None:
        answers: list[bytes] = await self._ask(self._service.stream, "EvaluateStream", stream.messages(), deadline)
        for answer in answers:
            stream.take(answer)

    async def get_capabilities(self, deadline: Deadline) -> v1.GetCapabilitiesResponse:
        answer: v1.GetCapabilitiesResponse = await self._answer(
            "GetCapabilities", v1.GetCapabilitiesRequest(), deadline
        )
        return answer

    async def call_runs(self, method: str, request: Message, deadline: Deadline) -> Any:
        return await self._ask(self._service.call, method, request, deadline, RUN_SERVICE)

    async def watch_run(
        self, request: v1.WatchRunRequest, deadline: Deadline
    ) -> AsyncGenerator[v1.WatchRunResponse, None]:
        """Asks again and again, since the service in this process streams nothing while a caller waits."""
        while True:
            asked = v1.GetRunRequest(name=request.name, totals_only=True)
            answer = await self.call_runs("GetRun", asked, Deadline(deadline.seconds))
            yield v1.WatchRunResponse(run=answer.run)
            if answer.run.state == v1.RunState.RUN_STATE_FINISHED:
                return
            await self.work(time.sleep, request.interval_seconds)

    async def call_heads(self, method: str, request: Message, deadline: Deadline) -> Any:
        return await self._ask(self._service.call, method, request, deadline, HEAD_SERVICE)

    async def register_head(self, upload: Upload, deadline: Deadline) -> None:
        how = partial(self._service.stream, take=upload.take)
        await self._ask(how, "RegisterHead", _messages(upload), deadline, HEAD_SERVICE)

    async def check_health(self, deadline: Deadline) -> float:
        start = time.perf_counter()
        await self.get_capabilities(deadline)
        return time.perf_counter() - start

    async def lease(self, size: int, deadline: Deadline) -> Region:  # noqa: ARG002 - a wire's arguments
        raise NotServedError("a service in this process leases no shared memory")

    async def work(self, function: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        if self._awaited:
            return await asyncio.to_thread(function, *arguments, **keywords)
        return function(*arguments, **keywords)

    async def wait(self, future: "Future[None]", seconds: float) -> bool:
        return bool((await self.work(futures.wait, [future], seconds)).done)

    async def close(self) -> None:
        """Does nothing: the service may have other clients."""

    async def _evaluate(self, request: bytes, deadline: Deadline) -> v1.EvaluateResponse:
        return v1.EvaluateResponse.FromString(await self._answer("Evaluate", request, deadline))

    async def _answer(self, method: str, request: object, deadline: Deadline) -> Any:
        return await self._ask(self._service.call, method, request, deadline)

    async def _ask(
        self, how: Callable[..., T], method: str, request: object, deadline: Deadline, service: str = SERVICE
    ) -> T:
        if self._failures:
            raise self._failures.popleft()
        with call(f"{service}/{method}", NAME, None) as metadata, translated(NAME, deadline.seconds):
            return await self.work(how, method, request, deadline.remaining(), metadata or ())


def _messages(upload: Upload) -> Iterator[bytes]:
    """The messages of a head. The service answers the first one before it takes another."""
    yield upload.header()
    yield from upload.parts()
