"""Small requests of many threads, sent together."""

import copy
import threading
from collections.abc import Sequence

from losswire import v1
from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._errors import DeadlineExceededError, LosswireError, late
from losswire_client._tracing.active import together
from losswire_client._transports.packs import GIVEN_UP, Outcome
from losswire_client._wires.coalescing import Caller, Coalescing, Send

GATHERING_SECONDS = 0.001  # how long a leader waits for other callers, if there were any recently


class CoalescingThreads:
    """The callers of a wire that blocks. They need no further thread: one of them sends for others.

    Args:
        target: The server's address, for errors.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._callers = Coalescing[_Caller]()

    async def evaluate(
        self, request: bytes, served: Capabilities, deadline: Deadline, send: Send
    ) -> v1.EvaluateResponse:
        caller = _Caller(request, served, deadline)
        try:
            leads = self._leads(caller) or self._is_called_to_lead(caller)
            if leads:
                await self._lead(caller, send)
        except BaseException:
            self._leave(caller)
            raise
        if not leads and isinstance(caller.outcome, DeadlineExceededError):
            # The leader's time is over. This caller may have more.
            (caller.outcome,) = await send([request], deadline)
        return caller.answer()

    def _leads(self, caller: "_Caller") -> bool:
        with self._lock:
            if self._callers.join(caller):
                return True
            if self._callers.gathering and self._callers.has_company:
                self._callers.gathering.call()
            return False

    def _is_called_to_lead(self, caller: "_Caller") -> bool:
        """Waits for an answer, or for the turn to send."""
        if caller.wait(caller.deadline.remaining()):
            return caller.outcome is None
        raise late(self._target, caller.deadline.seconds)

    async def _lead(self, leader: "_Caller", send: Send) -> None:
        """Sends for the leader and for callers that wait, and has the next leader do so."""
        self._gather(leader)
        with self._lock:
            callers = self._callers.take(leader)
            self._call_next_leaders()
        outcomes: Sequence[Outcome] = [GIVEN_UP] * len(callers)
        try:
            # Callers with less time leave by themselves. Callers with more time go on alone if this is too little.
            with together([caller.trace for caller in callers]):
                outcomes = await send([caller.request for caller in callers], leader.deadline)
        except LosswireError as error:
            outcomes = [error] * len(callers)
        finally:
            with self._lock:
                self._callers.arrived(len(callers))
                self._call_next_leaders()
            for caller, outcome in zip(callers, outcomes, strict=True):
                caller.outcome = outcome
                caller.call()

    def _gather(self, leader: "_Caller") -> None:
        with self._lock:
            waits = self._callers.gather(leader)
        if waits:
            leader.wait(GATHERING_SECONDS)

    def _leave(self, caller: "_Caller") -> None:
        with self._lock:
            self._callers.leave(caller)
            self._call_next_leaders()

    def _call_next_leaders(self) -> None:
        while (leader := self._callers.next_leader()) is not None:
            leader.call()


class _Caller(Caller):
    """A thread that waits.

    Attributes:
        outcome: The outcome of its request; None if there is none yet.
    """

    def __init__(self, request: bytes, served: Capabilities, deadline: Deadline) -> None:
        super().__init__(request, served, deadline)
        self.outcome: Outcome | None = None
        self._called = threading.Lock()  # released by `call`: a lock is the cheapest signal
        self._called.acquire()

    def wait(self, seconds: float) -> bool:
        """Whether the caller was called in time."""
        return self._called.acquire(timeout=seconds)

    def call(self) -> None:
        """Has the caller go on. Two threads never do this for a caller at the same time."""
        if self._called.locked():
            self._called.release()

    def answer(self) -> v1.EvaluateResponse:
        if isinstance(self.outcome, v1.EvaluateResponse):
            return self.outcome
        raise copy.copy(self.outcome or GIVEN_UP)
