import contextlib
import functools
import itertools
from typing import Any

import pytest

from losswire_server.calls.admission import SILENT_SECONDS, Admission, Reservation
from losswire_server.calls.limits import UNLIMITED, Account
from losswire_server.errors import OverloadedError, TooLargeError


def holding(admission: Admission, size: int, account: Account | None = None) -> Reservation:
    held = admission.reservation(account)
    held.resize(size)
    return held


def test_admission_ends_at_the_limit():
    admission = Admission(max_bytes=10)
    first = holding(admission, 6)
    with pytest.raises(OverloadedError, match="6 of at most 10 bytes are in flight, and this needs 5 more"):
        holding(admission, 5)
    holding(admission, 4)
    assert admission.inflight_bytes == 10
    first.close()
    holding(admission, 5)
    assert admission.inflight_bytes == 9


def test_one_caller_gets_its_share():
    admission, greedy, modest = Admission(max_bytes=10), account(share=0.6), account(share=0.6)
    holding(admission, 5, greedy)
    with pytest.raises(OverloadedError, match="5 of at most 6 bytes of this caller's are in flight, and this needs 2"):
        holding(admission, 2, greedy)
    with pytest.raises(TooLargeError, match="this call needs 7 bytes, and a caller may have at most 6 in flight"):
        holding(admission, 7, greedy)
    holding(admission, 5, modest).close()
    assert (greedy.bytes, modest.bytes) == (5, 0)


def test_silent_calls_of_one_caller_make_room_for_its_others():
    ended: list[str] = []
    admission, caller, another = Admission(max_bytes=10), account(share=0.5), account()
    first, strange = holding(admission, 4, caller), holding(admission, 2, another)
    admission.begin_silence(strange, functools.partial(ended.append, "another's"), 1e-9)
    admission.begin_silence(first, functools.partial(ended.append, "its own"), 1e-9)
    with pytest.raises(OverloadedError):
        holding(admission, 4, caller)
    assert ended == ["its own"]


def test_what_is_there_is_held_though_it_does_not_fit():
    admission = Admission(max_bytes=10)
    held = admission.reservation()
    held.hold(12)
    assert admission.inflight_bytes == 12
    held.close()
    assert admission.inflight_bytes == 0


def account(**limits: Any) -> Account:
    return Account(UNLIMITED._replace(**limits))


def test_reservation_grows_and_shrinks():
    admission = Admission(max_bytes=10)
    held = admission.reservation()
    for size in (4, 10, 3):
        held.resize(size)
        assert admission.inflight_bytes == size
    holding(admission, 6)
    with pytest.raises(OverloadedError):
        held.resize(5)
    assert admission.inflight_bytes == 9
    held.close()
    assert admission.inflight_bytes == 6


def test_too_large_reservation_is_no_overload():
    held = Admission(max_bytes=10).reservation()
    held.resize(10)
    with pytest.raises(TooLargeError, match="this call needs 11 bytes, and a caller may have at most 10 in flight"):
        held.resize(11)


def test_announced_bytes_are_not_held():
    admission = Admission(max_bytes=10)
    held = admission.reservation()
    held.resize(2)
    held.check_fits(10)
    holding(admission, 3)
    with pytest.raises(OverloadedError, match="5 of at most 10 bytes are in flight, and this needs 6 more"):
        held.check_fits(8)
    with pytest.raises(TooLargeError):
        held.check_fits(11)
    assert admission.inflight_bytes == 5


def test_silent_callers_make_room():
    ended: list[int] = []
    clock = itertools.count(0, SILENT_SECONDS / 2).__next__
    admission = Admission(max_bytes=10, clock=clock)
    holds = [admission.reservation() for _ in range(4)]
    for held in holds:
        held.resize(2)
    with contextlib.ExitStack() as silences:
        for name, held in enumerate(holds):
            silences.enter_context(held.silence(functools.partial(ended.append, name)))
        holding(admission, 2)
        assert ended == []
        with pytest.raises(OverloadedError):
            holding(admission, 3)
        assert ended == [0, 1]  # the longest silent ones, and no more than needed
        with pytest.raises(OverloadedError):
            holding(admission, 10)
        assert ended == [0, 1, 2, 3]  # each once
    with pytest.raises(OverloadedError):
        holding(admission, 10)
    assert ended == [0, 1, 2, 3]
