"""Which small requests travel together, and when: the policy alone, without I/O and without locks."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, islice
from typing import Generic, TypeAlias, TypeVar

from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._transports.packs import MAX_IN_FLIGHT, Outcome, fitting

Send: TypeAlias = Callable[[Sequence[bytes], Deadline], Awaitable[list[Outcome]]]  # of requests, in one message

MAX_PACK_BYTES = 2**20  # larger messages gain nothing, and all who travel in them wait for all
LEAST_TO_HALVE = 8  # of fewer callers, a message of its own costs more than it gains


class Caller:
    """One who waits for an answer, and perhaps for the turn to send.

    Attributes:
        request: What it sends.
        served: What the server serves, as far as it knows.
        deadline: Until when it waits.
    """

    def __init__(self, request: bytes, served: Capabilities, deadline: Deadline) -> None:
        self.request = request
        self.served = served
        self.deadline = deadline


CallerT = TypeVar("CallerT", bound=Caller)


class Coalescing(Generic[CallerT]):
    """The callers of one wire.

    One of those who wait leads: it gathers others, and sends for all. There are no more messages in flight than
    `MAX_IN_FLIGHT`; while they are, callers wait. Of many who wait while none is, it takes half along, and the others
    follow in the next: so two halves take turns, and one is computed while the other is put together.

    Attributes:
        leader: Who gathers; None if nobody does.
    """

    def __init__(self) -> None:
        self.leader: CallerT | None = None
        self._waiting = deque[CallerT]()
        self._in_flight = 0  # messages
        self._travelling = 0  # callers, in these messages
        self._company = 0  # callers who waited or travelled when last a message left

    def join(self, caller: CallerT) -> bool:
        """Whether a caller is to lead; else it waits."""
        if self._may_lead():
            self.leader = caller
            return True
        self._waiting.append(caller)
        return False

    @property
    def has_company(self) -> bool:
        """Whether the leader need not gather any longer: of those who were here lately, its share is back."""
        return 1 + len(self._waiting) >= self._company // MAX_IN_FLIGHT

    def take(self) -> list[CallerT]:
        """Who travels in the message that leaves now: the leader, and those who have waited longest."""
        if self.leader is None:
            return []
        leader, self.leader = self.leader, None
        count = self._share(leader) if self._waiting else 1
        self._company = 1 + len(self._waiting) + self._travelling
        self._travelling += count
        self._in_flight += 1
        return [leader, *(self._waiting.popleft() for _ in range(count - 1))]

    def arrived(self, count: int) -> None:
        """The message of so many callers is over, however it ended."""
        self._travelling -= count
        self._in_flight -= 1

    def next_leader(self) -> CallerT | None:
        """Who is to lead now, whenever one has left or a message is over; None if nobody may or has to."""
        if not self._waiting or not self._may_lead():
            return None
        self.leader = self._waiting.popleft()
        return self.leader

    def leave(self, caller: CallerT) -> None:
        """A caller gives up. One that travels is let go."""
        if caller is self.leader:
            self.leader = None
        elif caller in self._waiting:
            self._waiting.remove(caller)

    def _share(self, leader: CallerT) -> int:
        """How many go into the next message, the leader among them."""
        count = 1 + len(self._waiting)
        if not self._in_flight and count >= LEAST_TO_HALVE:
            count = (count + 1) // 2
        first = islice(chain((leader,), self._waiting), count)
        return fitting(((caller.request, caller.served) for caller in first), MAX_PACK_BYTES)

    def _may_lead(self) -> bool:
        return self.leader is None and self._in_flight < MAX_IN_FLIGHT
