"""Small evaluations of many tasks, sent together."""

import asyncio
import copy
from collections import deque
from collections.abc import Sequence
from typing import Any

from losswire import v1
from losswire_client._deadline import Deadline
from losswire_client._errors import DeadlineExceededError, LosswireError, late
from losswire_client._transports.packs import GIVEN_UP, MAX_IN_FLIGHT, Outcome, is_small, pack, share, unpack
from losswire_client._wires.aio_wire import AioWire
from losswire_client._wires.connection import CLOSING_SECONDS
from losswire_client._wires.endpoint import SERVICE, Endpoint

LEAST_TO_HALVE = 8  # of fewer, a message of its own costs more than it gains


class CoalescingAioWire(AioWire):
    """A wire whose callers travel together.

    Those do who come in one turn of the event loop, and those who come while messages are in flight.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        # Of bytes, which requests are by then.
        parse = v1.EvaluateResponse.FromString
        self._evaluate_bytes: Any = self._channel.unary_unary(f"/{SERVICE}/Evaluate", None, parse)
        self._batch_evaluate: Any = self._channel.unary_unary(f"/{SERVICE}/BatchEvaluate")
        self._max_requests: int | None = None
        self._waiting = deque[_Caller]()
        self._in_flight = 0
        self._gathering = False
        self._senders = set[asyncio.Task[None]]()

    async def evaluate(self, request: v1.EvaluateRequest, deadline: Deadline) -> v1.EvaluateResponse:
        data = request.SerializeToString()
        if not is_small(request, data) or not await self.max_requests(deadline):
            return await super().evaluate(request, deadline)
        caller = _Caller(data, deadline)
        self._waiting.append(caller)
        self._have_sent()
        return await caller.answer(self._endpoint.name)

    async def close(self) -> None:
        await super().close()
        if self._senders:
            await asyncio.wait(self._senders, timeout=CLOSING_SECONDS)

    async def evaluate_together(self, requests: Sequence[bytes], deadline: Deadline) -> list[Outcome]:
        """Sends requests in one message, which they must fit; one that is alone as it is."""
        if len(requests) == 1:
            return [await self._answer(self._evaluate_bytes, requests[0], deadline)]
        return unpack(await self._answer(self._batch_evaluate, pack(requests), deadline), len(requests))

    async def max_requests(self, deadline: Deadline) -> int:
        """The most that the server takes in a message; 0 if it takes no such messages."""
        if self._max_requests is None:
            self._max_requests = (await self.get_capabilities(deadline)).limits.max_batch_requests
        return self._max_requests

    def _have_sent(self) -> None:
        if self._in_flight < MAX_IN_FLIGHT and not self._gathering:
            self._gathering = True
            self._in_flight += 1
            sender = asyncio.create_task(self._send_all())
            self._senders.add(sender)
            sender.add_done_callback(self._senders.discard)

    async def _send_all(self) -> None:
        """Sends for those who wait, until nobody does."""
        try:
            while self._waiting:
                await self._send(self._take())
        finally:
            self._in_flight -= 1

    def _take(self) -> "list[_Caller]":
        """Those to send for now: half of many, so that one half is computed while the other is put together."""
        self._gathering = False
        count = share([caller.request for caller in self._waiting], self._max_requests or 1)
        if self._in_flight < MAX_IN_FLIGHT and count >= LEAST_TO_HALVE:
            count = (count + 1) // 2
            self._have_sent()
        callers = [self._waiting.popleft() for _ in range(count)]
        return [caller for caller in callers if not caller.future.done()]

    async def _send(self, callers: "Sequence[_Caller]") -> None:
        if not callers:
            return
        outcomes: Sequence[Outcome] = [GIVEN_UP] * len(callers)
        try:
            deadline = max((caller.deadline for caller in callers), key=Deadline.remaining)
            outcomes = await self.evaluate_together([caller.request for caller in callers], deadline)
        except LosswireError as error:
            outcomes = [error] * len(callers)
        finally:
            for caller, outcome in zip(callers, outcomes, strict=True):
                caller.settle(outcome)


class _Caller:
    """One who waits for an answer."""

    def __init__(self, request: bytes, deadline: Deadline) -> None:
        self.request = request
        self.deadline = deadline
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[v1.EvaluateResponse] = self._loop.create_future()

    def settle(self, outcome: Outcome) -> None:
        if self.future.done():  # who asked for it has left
            return
        if isinstance(outcome, LosswireError):
            self.future.set_exception(copy.copy(outcome))
        else:
            self.future.set_result(outcome)

    async def answer(self, target: str) -> v1.EvaluateResponse:
        timer = self._loop.call_later(self.deadline.remaining(), self.settle, late(target, self.deadline.seconds))
        try:
            return await self.future
        except DeadlineExceededError as error:
            raise late(target, self.deadline.seconds) from error
        finally:
            timer.cancel()
