"""Small requests of many tasks, sent together."""

import asyncio
import copy
from collections.abc import Sequence

from losswire import v1
from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import DeadlineExceededError, LosswireError, late
from losswire_client._tracing.active import together
from losswire_client._transports.packs import GIVEN_UP, Outcome
from losswire_client._wires.coalescing import Caller, Coalescing, Send
from losswire_client._wires.connection import CLOSING_SECONDS


class CoalescingTasks:
    """The callers of a wire that awaits.

    Callers share a message if they come in the same turn of the event loop, or while messages are in flight.

    Args:
        target: The server's address, for errors.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._callers = Coalescing[_Caller]()
        self._senders = set[asyncio.Task[None]]()

    async def evaluate(
        self, request: bytes, served: Capabilities, deadline: Deadline, send: Send
    ) -> v1.EvaluateResponse:
        caller = _Caller(request, served, deadline)
        if self._callers.join(caller):
            self._have_lead(caller, send)
        try:
            return await caller.answer(self._target)
        except BaseException:
            self._callers.leave(caller)
            self._have_next_ones_lead(send)
            raise

    async def close(self) -> None:
        """Waits for the tasks that sent messages. Their calls have been ended before."""
        if self._senders:
            await asyncio.wait(self._senders, timeout=CLOSING_SECONDS)

    def _have_lead(self, leader: "_Caller", send: Send) -> None:
        sender = asyncio.create_task(self._lead(leader, send))
        self._senders.add(sender)
        sender.add_done_callback(self._senders.discard)

    def _have_next_ones_lead(self, send: Send) -> None:
        while (leader := self._callers.next_leader()) is not None:
            self._callers.gather(leader)
            self._have_lead(leader, send)

    async def _lead(self, leader: "_Caller", send: Send) -> None:
        """Sends for the leader and for the callers that wait one turn of the loop later, when this task begins."""
        callers = self._callers.take(leader)
        if not callers:  # the leader has left
            return
        self._have_next_ones_lead(send)
        outcomes: Sequence[Outcome] = [GIVEN_UP] * len(callers)
        try:
            deadline = max((caller.deadline for caller in callers), key=Deadline.remaining)
            with together([caller.trace for caller in callers]):
                outcomes = await send([caller.request for caller in callers], deadline)
        except LosswireError as error:
            outcomes = [error] * len(callers)
        finally:
            self._callers.arrived(len(callers))
            for caller, outcome in zip(callers, outcomes, strict=True):
                caller.settle(outcome)
            if not _is_cancelled():  # otherwise the loop is about to end, and takes no more tasks
                self._have_next_ones_lead(send)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Caller(Caller):
    """A task that waits."""

    def __init__(self, request: bytes, served: Capabilities, deadline: Deadline) -> None:
        super().__init__(request, served, deadline)
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[v1.EvaluateResponse] = self._loop.create_future()

    def settle(self, outcome: Outcome) -> None:
        if self._future.done():  # the caller has left
            return
        if isinstance(outcome, LosswireError):
            self._future.set_exception(copy.copy(outcome))
        else:
            self._future.set_result(outcome)

    async def answer(self, target: str) -> v1.EvaluateResponse:
        timer = self._loop.call_later(self.deadline.remaining(), self.settle, late(target, self.deadline.seconds))
        try:
            return await self._future
        except DeadlineExceededError as error:
            raise late(target, self.deadline.seconds) from error
        finally:
            timer.cancel()
