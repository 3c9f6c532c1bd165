"""Which small requests travel together, and when: the policy alone, without I/O and without locks."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain, islice
from typing import Generic, TypeAlias, TypeVar

from losswire_client._capabilities import Capabilities
from losswire_client._deadline import Deadline
from losswire_client._tracing.active import current
from losswire_client._transports.packs import MAX_IN_FLIGHT, Outcome, fitting

Send: TypeAlias = Callable[[Sequence[bytes], Deadline], Awaitable[list[Outcome]]]  # requests go in one message

MAX_PACK_BYTES = 2**20  # larger messages gain nothing, and each of their callers waits for all the others
LEAST_TO_HALVE = 8  # a second message for fewer callers costs more than it gains


class Caller:
    """A caller waits for its answer, and perhaps for its turn to send.

    Attributes:
        request: The request that it sends.
        served: What the server serves, as far as the caller knows.
        deadline: Until when the caller waits.
        trace: The trace of the thread or task that waits.
    """

    def __init__(self, request: bytes, served: Capabilities, deadline: Deadline) -> None:
        self.request = request
        self.served = served
        self.deadline = deadline
        self.trace = current()


CallerT = TypeVar("CallerT", bound=Caller)


class Coalescing(Generic[CallerT]):
    """The callers of one wire.

    Some callers lead: a leader sends for others too, and may wait a moment to gather them. At most `MAX_IN_FLIGHT`
    messages are put together or in flight; the other callers wait. If many wait and no message is in flight, a leader
    takes half of them along, and the others follow in the next message. So two halves take turns: one is computed
    while the other is put together.

    Attributes:
        gathering: The leader that gathers: new callers wait for it. None if no leader gathers.
    """

    def __init__(self) -> None:
        self.gathering: CallerT | None = None
        self._waiting = deque[CallerT]()
        self._leaders: list[CallerT] = []
        self._in_flight = 0  # messages
        self._travelling = 0  # callers, in these messages
        self._company = 0  # callers who waited or travelled when last a message left

    def join(self, caller: CallerT) -> bool:
        """Whether a caller leads, and gathers from now on; else it waits."""
        if self.gathering is not None or not self._may_lead():
            self._waiting.append(caller)
            return False
        self._leaders.append(caller)
        self.gathering = caller
        return True

    def gather(self, leader: CallerT) -> bool:
        """Whether a leader must wait for others before it takes them along."""
        if self.gathering is None:
            self.gathering = leader
        return self.gathering is leader and not self.has_company

    @property
    def has_company(self) -> bool:
        """Whether a leader need not gather any longer, because its share of the recent callers is back."""
        return 1 + len(self._waiting) >= self._company // MAX_IN_FLIGHT

    def take(self, leader: CallerT) -> list[CallerT]:
        """The callers of the message that leaves now: the leader and the longest waiting. Empty if the leader left."""
        if leader not in self._leaders:
            return []
        self._stop_leading(leader)
        count = self._share(leader) if self._waiting else 1
        self._company = 1 + len(self._waiting) + self._travelling
        self._travelling += count
        self._in_flight += 1
        return [leader, *(self._waiting.popleft() for _ in range(count - 1))]

    def arrived(self, count: int) -> None:
        """Notes that the message of so many callers is over, however it ended."""
        self._travelling -= count
        self._in_flight -= 1

    def next_leader(self) -> CallerT | None:
        """The caller that leads now, or None. Ask until None, whenever callers have left or a message is over."""
        if not self._waiting or not self._may_lead():
            return None
        leader = self._waiting.popleft()
        self._leaders.append(leader)
        return leader

    def leave(self, caller: CallerT) -> None:
        """Removes a caller that gives up. A caller whose request is in flight needs no removal."""
        if caller in self._leaders:
            self._stop_leading(caller)
        elif caller in self._waiting:
            self._waiting.remove(caller)

    def _stop_leading(self, leader: CallerT) -> None:
        self._leaders.remove(leader)
        if self.gathering is leader:
            self.gathering = None

    def _share(self, leader: CallerT) -> int:
        """How many go into the next message, the leader among them."""
        count = 1 + len(self._waiting)
        if not self._in_flight and count >= LEAST_TO_HALVE:
            count = (count + 1) // 2
        first = islice(chain((leader,), self._waiting), count)
        return fitting(((caller.request, caller.served) for caller in first), MAX_PACK_BYTES)

    def _may_lead(self) -> bool:
        return len(self._leaders) + self._in_flight < MAX_IN_FLIGHT
