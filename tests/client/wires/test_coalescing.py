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
    """What a server serves that takes so much in a message."""
    limits = v1.Limits(max_batch_requests=requests, max_message_bytes=nbytes)
    return parse_capabilities(v1.GetCapabilitiesResponse(limits=limits))


def caller(size: int = 1, served: Capabilities = taking(256, 2**20)) -> Caller:  # noqa: B008 - it is frozen
    return Caller(b"x" * size, served, DEADLINE)


def joined(callers: Coalescing[Caller], count: int) -> list[bool]:
    return [callers.join(caller()) for _ in range(count)]


class Callers(RuleBasedStateMachine):
    """Drives the policy as any driver may: callers come, leave, gather, and are answered in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = Coalescing[Caller]()
        self.waiting: list[Caller] = []  # neither called to lead, nor travelling
        self.leader: Caller | None = None
        self.messages: list[list[Caller]] = []
        self.come = self.left = self.answered = 0

    @rule(size=st.sampled_from([1, 400]), most=st.integers(1, 20))
    def comes(self, size: int, most: int) -> None:
        new = caller(size, taking(most, 1000))
        self.come += 1
        if self.policy.join(new):
            assert self.leader is None
            self.leader = new
        else:
            self.waiting.append(new)

    @precondition(lambda self: self.leader)
    @rule()
    def departs(self) -> None:
        message = self.policy.take()
        count = len(self.waiting) + 1
        assert message[0] is self.leader
        assert message[1:] == self.waiting[: len(message) - 1]
        assert count < LEAST_TO_HALVE or self.messages or len(message) <= (count + 1) // 2
        assert len(message) == 1 or len(message) <= min(one.served.max_batch_requests for one in message)
        assert len(message) == 1 or sum(len(one.request) + FIELD_BYTES for one in message) <= 1000
        del self.waiting[: len(message) - 1]
        self.messages.append(message)
        self.leader = None
        self.calls_next_leader()

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def arrives(self, data: st.DataObject) -> None:
        message = self.messages.pop(data.draw(st.integers(0, len(self.messages) - 1)))
        self.answered += len(message)
        self.policy.arrived(len(message))
        self.calls_next_leader()

    @precondition(lambda self: self.waiting or self.leader)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from([*self.waiting, *([self.leader] if self.leader else [])]))
        self.left += 1
        self.policy.leave(one)
        if one is self.leader:
            self.leader = None
        else:
            self.waiting.remove(one)
        self.calls_next_leader()

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def leaves_on_the_way(self, data: st.DataObject) -> None:
        self.policy.leave(data.draw(st.sampled_from(self.messages))[0])

    def calls_next_leader(self) -> None:
        leader = self.policy.next_leader()
        if leader is not None:
            assert self.leader is None
            assert leader is self.waiting.pop(0)
            self.leader = leader

    @invariant()
    def no_more_messages_are_in_flight_than_may_be(self) -> None:
        assert len(self.messages) + (self.leader is not None) <= MAX_IN_FLIGHT

    @invariant()
    def nobody_waits_while_a_message_may_leave_and_nobody_gathers(self) -> None:
        assert not self.waiting or self.leader or len(self.messages) == MAX_IN_FLIGHT

    @invariant()
    def nobody_is_lost(self) -> None:
        travelling = sum(map(len, self.messages))
        here = len(self.waiting) + (self.leader is not None) + travelling
        assert self.come == here + self.left + self.answered

    def teardown(self) -> None:
        while self.leader or self.messages:
            if self.leader:
                self.departs()
            else:
                self.answered += len(message := self.messages.pop())
                self.policy.arrived(len(message))
                self.calls_next_leader()
        assert self.come == self.left + self.answered


TestCallers = Callers.TestCase


def test_first_caller_leads_and_goes_alone():
    callers = Coalescing[Caller]()
    assert joined(callers, 1) == [True]
    assert callers.has_company
    assert len(callers.take()) == 1
    assert callers.next_leader() is None


def test_others_wait_while_messages_are_in_flight_and_one_of_them_leads_when_one_arrives():
    callers = Coalescing[Caller]()
    for _ in range(MAX_IN_FLIGHT):
        assert joined(callers, 1) == [True]
        callers.take()
    assert joined(callers, 3) == [False] * 3
    assert callers.next_leader() is None
    callers.arrived(1)
    assert callers.next_leader() is not None
    assert len(callers.take()) == 3


@pytest.mark.parametrize(("count", "first", "second"), [(7, 7, 0), (8, 4, 4), (9, 5, 4), (32, 16, 16), (33, 17, 16)])
def test_many_go_in_two_halves(count, first, second):
    callers = Coalescing[Caller]()
    assert joined(callers, count) == [True] + [False] * (count - 1)
    assert len(callers.take()) == first
    assert (callers.next_leader() is not None) == bool(second)
    assert len(callers.take()) == second
    assert callers.next_leader() is None


def test_leader_gathers_until_its_share_of_those_who_were_here_is_back():
    callers = Coalescing[Caller]()
    joined(callers, 16)
    half = callers.take()
    assert callers.next_leader()
    callers.take()
    callers.arrived(len(half))
    assert callers.next_leader() is None
    assert [callers.join(caller()) and not callers.has_company for _ in range(8)] == [True] + [False] * 7
    assert callers.has_company
    assert len(callers.take()) == 8


def test_leader_that_leaves_is_followed_by_another():
    callers = Coalescing[Caller]()
    first, second = caller(), caller()
    assert callers.join(first)
    assert not callers.join(second)
    callers.leave(first)
    assert callers.next_leader() is second
    callers.leave(second)
    assert callers.next_leader() is None
    assert callers.take() == []
    assert joined(callers, 1) == [True]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([(1, (0, 0))], 1),  # one goes as it is, whatever the limits
        ([(1, (3, 99))] * 5, 3),
        ([(1, (3, 99)), (1, (2, 99)), (1, (3, 99))], 2),  # who knows of less is right
        ([(1, (9, 99)), (1, (1, 99))], 1),
        ([(10, (9, 20 + 2 * FIELD_BYTES))] * 5, 2),
        ([(10, (9, 99)), (10, (9, 20))], 1),
    ],
)
def test_message_holds_what_all_of_its_callers_know_that_it_may(requests, expected):
    assert fitting((b"x" * size, taking(*limits)) for size, limits in requests) == expected
