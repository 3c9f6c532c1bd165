"""Which callers travel together, and when: the policy alone, without I/O."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from losswire import v1
from losswire_client._capabilities import Capabilities, parse_capabilities
from losswire_client._deadline import Deadline
from losswire_client._transports.packs import FIELD_BYTES, MAX_IN_FLIGHT, fitting
from losswire_client._wires.coalescing import LEAST_TO_HALVE, Caller, Coalescing

DEADLINE = Deadline(60)


def taking(requests: int, nbytes: int) -> Capabilities:
    """The answer of a server that takes so much in a message."""
    limits = v1.Limits(max_batch_requests=requests, max_message_bytes=nbytes)
    return parse_capabilities(v1.GetCapabilitiesResponse(limits=limits))


def caller(size: int = 1, served: Capabilities = taking(256, 2**20)) -> Caller:  # noqa: B008 - it is frozen
    return Caller(b"x" * size, served, DEADLINE)


class Callers(RuleBasedStateMachine):
    """Drives the policy as any driver may: callers come, gather, leave, and are answered in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = Coalescing[Caller]()
        self.waiting: list[Caller] = []  # callers that neither lead nor travel
        self.leaders: list[Caller] = []
        self.messages: list[list[Caller]] = []
        self.come = self.left = self.answered = 0

    @rule(size=st.sampled_from([1, 400]), most=st.integers(1, 20))
    def comes(self, size: int, most: int) -> None:
        new = caller(size, taking(most, 1000))
        self.come += 1
        leads = self.policy.join(new)
        (self.leaders if leads else self.waiting).append(new)
        assert leads == (self.policy.gathering is new)

    @precondition(lambda self: self.leaders)
    @rule(data=st.data())
    def gathers(self, data: st.DataObject) -> None:
        before, leader = self.policy.gathering, data.draw(st.sampled_from(self.leaders))
        assert not self.policy.gather(leader) or before in (None, leader)
        assert self.policy.gathering is (before or leader)

    @precondition(lambda self: self.leaders)
    @rule(data=st.data())
    def departs(self, data: st.DataObject) -> None:
        self.leader_departs(data.draw(st.sampled_from(self.leaders)))

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def arrives(self, data: st.DataObject) -> None:
        self.message_arrives(data.draw(st.integers(0, len(self.messages) - 1)))

    @precondition(lambda self: self.waiting or self.leaders)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.waiting + self.leaders))
        self.policy.leave(one)
        (self.leaders if one in self.leaders else self.waiting).remove(one)
        self.left += 1
        self.calls_next_leaders()

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def leaves_on_the_way(self, data: st.DataObject) -> None:
        self.policy.leave(data.draw(st.sampled_from(self.messages))[0])

    def leader_departs(self, leader: Caller) -> None:
        message, count = self.policy.take(leader), len(self.waiting) + 1
        assert message == [leader, *self.waiting[: len(message) - 1]]
        assert count < LEAST_TO_HALVE or self.messages or len(message) <= (count + 1) // 2
        assert len(message) == 1 or len(message) <= min(one.served.max_batch_requests for one in message)
        assert len(message) == 1 or sum(len(one.request) + FIELD_BYTES for one in message) <= 1000
        del self.waiting[: len(message) - 1]
        self.leaders.remove(leader)
        self.messages.append(message)
        self.calls_next_leaders()

    def message_arrives(self, number: int) -> None:
        message = self.messages.pop(number)
        self.answered += len(message)
        self.policy.arrived(len(message))
        self.calls_next_leaders()

    def calls_next_leaders(self) -> None:
        while (leader := self.policy.next_leader()) is not None:
            assert leader is self.waiting.pop(0)
            self.leaders.append(leader)

    @invariant()
    def no_more_messages_are_in_flight_than_may_be(self) -> None:
        assert len(self.messages) + len(self.leaders) <= MAX_IN_FLIGHT

    @invariant()
    def nobody_waits_while_a_message_may_leave_and_nobody_gathers(self) -> None:
        assert not self.waiting or self.policy.gathering or len(self.messages) + len(self.leaders) == MAX_IN_FLIGHT
        assert self.policy.gathering is None or self.policy.gathering in self.leaders

    @invariant()
    def nobody_is_lost(self) -> None:
        here = len(self.waiting) + len(self.leaders) + sum(map(len, self.messages))
        assert self.come == here + self.left + self.answered

    def teardown(self) -> None:
        while self.leaders or self.messages:
            if self.leaders:
                self.leader_departs(self.leaders[0])
            else:
                self.message_arrives(0)
        assert self.come == self.left + self.answered


TestCallers = Callers.TestCase


def test_first_caller_leads_at_once():
    callers, first = Coalescing[Caller](), caller()
    assert callers.join(first)
    assert not callers.gather(first)
    assert callers.take(first) == [first]
    assert callers.next_leader() is None


def test_next_leader_follows_an_answer():
    callers = Coalescing[Caller]()
    for _ in range(MAX_IN_FLIGHT):
        first = caller()
        assert callers.join(first)
        callers.take(first)
    others = [caller() for _ in range(3)]
    assert not any(callers.join(other) for other in others)
    assert callers.next_leader() is None
    callers.arrived(1)
    assert callers.next_leader() is others[0]
    assert callers.take(others[0]) == others


@pytest.mark.parametrize(("count", "first", "second"), [(7, 7, 0), (8, 4, 4), (9, 5, 4), (32, 16, 16), (33, 17, 16)])
def test_many_go_in_two_halves(count, first, second):
    callers, all_of_them = Coalescing[Caller](), [caller() for _ in range(count)]
    assert [callers.join(each) for each in all_of_them] == [True] + [False] * (count - 1)
    assert callers.take(all_of_them[0]) == all_of_them[:first]
    leader = callers.next_leader()
    assert (leader is not None) == bool(second)
    assert leader is None or callers.take(leader) == all_of_them[first:]


def test_leader_gathers_its_share():
    callers, all_of_them = Coalescing[Caller](), [caller() for _ in range(16)]
    for each in all_of_them:
        callers.join(each)
    for leader in (all_of_them[0], all_of_them[8]):
        callers.take(leader)
        callers.next_leader()
    callers.arrived(8)
    first, *others = [caller() for _ in range(8)]
    assert callers.join(first)
    assert callers.gather(first)
    for other in others:
        assert not callers.has_company
        callers.join(other)
    assert callers.has_company
    assert callers.take(first) == [first, *others]


def test_leader_that_leaves_is_followed():
    callers, first, second = Coalescing[Caller](), caller(), caller()
    assert callers.join(first)
    assert not callers.join(second)
    callers.leave(first)
    assert callers.take(first) == []
    assert callers.next_leader() is second
    callers.leave(second)
    assert callers.next_leader() is None
    assert callers.join(caller())


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([(1, (0, 0))], 1),  # a single request is sent as it is, whatever the limits
        ([(1, (3, 99))] * 5, 3),
        ([(1, (3, 99)), (1, (2, 99)), (1, (3, 99))], 2),  # the caller that knows the lower limit is right
        ([(1, (9, 99)), (1, (1, 99))], 1),
        ([(10, (9, 20 + 2 * FIELD_BYTES))] * 5, 2),
        ([(10, (9, 99)), (10, (9, 20))], 1),
    ],
)
def test_message_fits_all_known_limits(requests, expected):
    assert fitting((b"x" * size, taking(*limits)) for size, limits in requests) == expected
