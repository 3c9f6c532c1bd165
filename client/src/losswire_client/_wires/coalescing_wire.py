"""Small evaluations of many threads, sent together."""

import copy
import threading
from collections import deque
from collections.abc import Sequence

from losswire import v1
from losswire_client._deadline import Deadline
from losswire_client._errors import DeadlineExceededError, LosswireError, late
from losswire_client._transports.packs import GIVEN_UP, MAX_IN_FLIGHT, Outcome, is_small, pack, share, unpack
from losswire_client._wires.endpoint import SERVICE, Endpoint
from losswire_client._wires.grpc_wire import Wire

GATHERING_SECONDS = 0.001  # that a message waits for company, where there was some lately


class CoalescingWire(Wire):
    """A wire whose callers travel together.

    There is no thread beside theirs. Who comes while messages are in flight waits; when one of them is answered, the
    first of those who wait sends for all. It waits a moment for half of those who were here lately, since they come
    back one by one: so two halves take turns, and one is computed while the other is put together.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        # Of bytes, which requests are by then.
        self._evaluate_bytes = self._channel.unary_unary(f"/{SERVICE}/Evaluate", None, v1.EvaluateResponse.FromString)
        self._batch_evaluate = self._channel.unary_unary(f"/{SERVICE}/BatchEvaluate")
        self._max_requests: int | None = None
        self._lock = threading.Lock()
        self._waiting = deque[_Caller]()
        self._gathering: _Caller | None = None
        self._company = 0  # callers who wait or travel, when last a message left
        self._travelling = 0
        self._in_flight = 0

    def evaluate(self, request: v1.EvaluateRequest, deadline: Deadline) -> v1.EvaluateResponse:
        data = request.SerializeToString()
        if not is_small(request, data) or not self.max_requests(deadline):
            return super().evaluate(request, deadline)
        caller = _Caller(data, deadline)
        if self._may_lead(caller) or self._is_called_to_lead(caller):
            self._lead(caller)
        if isinstance(caller.outcome, DeadlineExceededError):  # of who led, and may have had less time
            answer: v1.EvaluateResponse = self._answer(self._evaluate_bytes, data, deadline)
            return answer
        return caller.answer()

    def evaluate_together(self, requests: Sequence[bytes], deadline: Deadline) -> list[Outcome]:
        """Sends requests in one message, which they must fit; one that is alone as it is."""
        if len(requests) == 1:
            return [self._answer(self._evaluate_bytes, requests[0], deadline)]
        return unpack(self._answer(self._batch_evaluate, pack(requests), deadline), len(requests))

    def max_requests(self, deadline: Deadline) -> int:
        """The most that the server takes in a message; 0 if it takes no such messages."""
        if self._max_requests is None:
            self._max_requests = self.get_capabilities(deadline).limits.max_batch_requests
        return self._max_requests

    def _may_lead(self, caller: "_Caller") -> bool:
        """Whether a caller may send at once; else it waits with the others."""
        with self._lock:
            caller.leads = self._in_flight < MAX_IN_FLIGHT and self._gathering is None
            if caller.leads:
                self._in_flight += 1
                return True
            self._waiting.append(caller)
            if self._gathering and self._has_company():
                self._gathering.call()
                self._gathering = None
        return False

    def _is_called_to_lead(self, caller: "_Caller") -> bool:
        """Waits for an answer, or for the turn to send."""
        if caller.wait(caller.deadline.remaining()):
            return caller.outcome is None
        with self._lock:
            if caller in self._waiting:
                self._waiting.remove(caller)
        if caller.leads:
            self._pass_on()
        raise late(self._endpoint.name, caller.deadline.seconds)

    def _lead(self, caller: "_Caller") -> None:
        """Sends for one and for those who wait, and has the next of them do so after that."""
        self._gather(caller)
        callers = self._take(caller)
        outcomes: Sequence[Outcome] = [GIVEN_UP] * len(callers)
        try:
            # Those with less time leave by themselves; those with more go on alone if this is too little.
            outcomes = self.evaluate_together([each.request for each in callers], caller.deadline)
        except LosswireError as error:
            outcomes = [error] * len(callers)
        finally:
            self._pass_on(len(callers))
            for each, outcome in zip(callers, outcomes, strict=True):
                each.settle(outcome)

    def _gather(self, caller: "_Caller") -> None:
        with self._lock:
            if self._gathering or self._has_company():
                return
            self._gathering = caller
        if not caller.wait(GATHERING_SECONDS):
            with self._lock:
                self._gathering = None if self._gathering is caller else self._gathering

    def _has_company(self) -> bool:
        return len(self._waiting) + 1 >= self._company // MAX_IN_FLIGHT

    def _take(self, caller: "_Caller") -> "list[_Caller]":
        """A caller, and those whose requests fit a message with its own."""
        with self._lock:
            self._company = self._travelling + len(self._waiting) + 1
            count = share([caller.request, *(each.request for each in self._waiting)], self._max_requests or 1)
            self._travelling += count
            return [caller, *(self._waiting.popleft() for _ in range(count - 1))]

    def _pass_on(self, arrived: int = 0) -> None:
        with self._lock:
            self._travelling -= arrived
            if self._waiting:
                self._waiting.popleft().lead()
            else:
                self._in_flight -= 1


class _Caller:
    """One who waits for an answer, and perhaps for the turn to send.

    Attributes:
        leads: Whether it is to send.
        outcome: What came; None if nothing yet.
    """

    def __init__(self, request: bytes, deadline: Deadline) -> None:
        self.request = request
        self.deadline = deadline
        self.leads = False
        self.outcome: Outcome | None = None
        self._called = threading.Lock()  # released when it is called; the cheapest of signals
        self._called.acquire()

    def wait(self, seconds: float) -> bool:
        """Whether it was called in time."""
        return self._called.acquire(timeout=seconds)

    def call(self) -> None:
        self._called.release()

    def lead(self) -> None:
        self.leads = True
        self.call()

    def settle(self, outcome: Outcome) -> None:
        self.outcome = outcome
        if not self.leads:
            self.call()

    def answer(self) -> v1.EvaluateResponse:
        if isinstance(self.outcome, v1.EvaluateResponse):
            return self.outcome
        raise copy.copy(self.outcome or GIVEN_UP)
