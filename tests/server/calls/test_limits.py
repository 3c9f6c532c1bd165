import asyncio
from typing import Any
from unittest.mock import AsyncMock

import pytest

from losswire_server import Settings
from losswire_server.calls.limits import BURST_SECONDS, UNLIMITED, Account, Accounts, CallerLimits, Rate
from losswire_server.errors import OverloadedError, TooLargeError


class Clock:
    """A clock that goes on when the test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def account(clock: Clock | None = None, **limits: Any) -> Account:
    return Account(UNLIMITED._replace(**limits), clock or Clock())


def begun(account: Account, *, is_stream: bool = False) -> bool:
    """Whether a call may begin, which ends at once."""
    try:
        account.begin(is_stream=is_stream)
    except OverloadedError:
        return False
    account.end(is_stream=is_stream)
    return True


def test_limits_are_those_of_the_settings():
    settings = Settings(caller_share=0.5, caller_requests=4, caller_streams=3, caller_leases=2)
    assert CallerLimits.of(settings) == CallerLimits(0.5, 4, 3, 2, 0, 0)


def test_rate_permits_a_burst_and_then_the_average(clock):
    rate = Rate(10, clock)
    for _ in range(int(10 * BURST_SECONDS)):
        assert rate.wait_seconds() == 0
        rate.take(1)
    assert rate.wait_seconds() == pytest.approx(0, abs=1e-6)
    assert rate.wait_seconds() > 0
    for _ in range(100):  # ten seconds
        clock.now += 0.1
        assert rate.wait_seconds() == 0
        rate.take(1)
        assert rate.wait_seconds() > 0


def test_rest_saves_no_more_than_a_burst(clock):
    rate = Rate(10, clock)
    clock.now += 3600
    rate.take(10 * BURST_SECONDS)
    assert rate.wait_seconds() > 0


def test_what_is_too_much_is_waited_for(clock):
    rate = Rate(100, clock)
    rate.take(1000)
    assert rate.wait_seconds() == pytest.approx(10 - BURST_SECONDS)
    clock.now += 4
    assert rate.wait_seconds() == pytest.approx(6 - BURST_SECONDS)
    assert not rate.is_full
    clock.now += 6
    assert rate.is_full


def test_no_rate_is_any_rate(clock):
    rate = Rate(0, clock)
    rate.take(10**12)
    assert rate.wait_seconds() == 0
    assert rate.is_full


def test_calls_and_streams_are_counted_apart():
    caller = account(requests=3, streams=1)
    caller.begin(is_stream=True)
    with pytest.raises(OverloadedError, match="this caller has 1 streams under way, and may have 1"):
        caller.begin(is_stream=True)
    caller.begin(is_stream=False)
    caller.begin(is_stream=False)
    with pytest.raises(OverloadedError, match="this caller has 3 calls under way, and may have 3"):
        caller.begin(is_stream=False)
    assert (caller.requests, caller.streams) == (3, 1)  # what was refused does not count
    caller.end(is_stream=True)
    assert begun(caller, is_stream=True)


def test_refused_call_tells_when_the_rate_permits_one(clock):
    caller = account(clock, requests_per_second=2)
    assert [begun(caller) for _ in range(5)] == [True] * 4 + [False]
    with pytest.raises(OverloadedError, match="more than 2 calls a second, on average over 2 seconds") as refused:
        caller.begin(is_stream=False)
    assert refused.value.retry_milliseconds >= 1
    clock.now += 0.5
    assert [begun(caller) for _ in range(2)] == [True, False]


def test_large_message_delays_the_next_call(clock):
    caller = account(clock, bytes_per_second=1000)
    assert begun(caller)
    caller.received(5000)
    with pytest.raises(OverloadedError, match="more than 1000 bytes a second") as refused:
        caller.begin(is_stream=False)
    assert refused.value.retry_milliseconds == 3000
    clock.now += 3.001
    assert begun(caller)


def test_large_message_delays_the_next_one_of_a_stream(clock, monkeypatch):
    caller, sleep = account(clock, bytes_per_second=1e6), AsyncMock()
    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(caller.rest())
    sleep.assert_not_awaited()
    caller.received(2_200_000)
    asyncio.run(caller.rest())
    sleep.assert_awaited_once_with(pytest.approx(0.2))
    clock.now += 0.201
    assert begun(caller)


def test_leases_are_counted_while_they_last():
    caller = account(share=0.5, leases=2)
    with caller.leasing(30, most_bytes=100):
        with pytest.raises(OverloadedError, match="this caller leases 30 of at most 50 bytes, and this region has 21"):
            caller.leasing(21, most_bytes=100).__enter__()
        with (
            caller.leasing(20, most_bytes=100),
            pytest.raises(OverloadedError, match="2 regions under way, and may have 2"),
        ):
            caller.leasing(0, most_bytes=100).__enter__()
        assert (caller.leases, caller.leased_bytes) == (1, 30)
    with pytest.raises(TooLargeError, match="a region of 51 bytes can never be leased: a caller may lease at most 50"):
        caller.leasing(51, most_bytes=100).__enter__()
    with pytest.raises(KeyError), caller.leasing(50, most_bytes=100):
        raise KeyError
    assert (caller.leases, caller.leased_bytes) == (0, 0)


def test_callers_are_forgotten_once_they_take_nothing(clock):
    accounts = Accounts()
    busy, rated, waiting, idle = (accounts.of(name) for name in ("busy", "rated", "waiting", "idle"))
    busy.begin(is_stream=False)
    rated._clock = clock
    rated.limit(UNLIMITED._replace(requests_per_second=1))
    assert begun(rated)
    waiting.bytes = 5
    accounts.forget_idle()
    assert accounts.of("idle") is not idle
    assert [accounts.of(name) for name in ("busy", "rated", "waiting")] == [busy, rated, waiting]
    busy.end(is_stream=False)
    waiting.bytes, clock.now = 0, clock.now + 1
    accounts.forget_idle()
    assert len(accounts) == 0


def test_lease_keeps_its_caller():
    accounts = Accounts()
    leasing = accounts.of("a")
    with leasing.leasing(1, most_bytes=10):
        accounts.forget_idle()
        assert accounts.of("a") is leasing


def test_new_limits_of_a_caller_hold_from_now_on():
    accounts = Accounts(UNLIMITED._replace(requests=5))
    caller = accounts.of("a")
    assert caller.limits.requests == 5
    caller.begin(is_stream=False)
    assert accounts.of("a", UNLIMITED._replace(requests=1)) is caller
    with pytest.raises(OverloadedError):
        caller.begin(is_stream=False)
    assert accounts.of("a", UNLIMITED._replace(requests=2)).requests == 1
    assert begun(caller)


def test_same_limits_again_forgive_no_rate(clock):
    limits = UNLIMITED._replace(requests_per_second=1)
    accounts = Accounts()
    caller = accounts.of("a", limits)
    caller._clock = clock
    caller.limit(limits)
    assert [begun(accounts.of("a", limits)) for _ in range(3)] == [True, True, False]
