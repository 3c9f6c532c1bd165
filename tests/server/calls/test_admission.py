import contextlib
import functools
import itertools

import pytest

from losswire_server.calls.admission import SILENT_SECONDS, Admission
from losswire_server.errors import OverloadedError, TooLargeError


def test_admission_ends_at_the_limit():
    admission = Admission(max_bytes=10)
    admission.reserve(6)
    with pytest.raises(OverloadedError, match="6 of at most 10 bytes are in flight, and this request has 5"):
        admission.reserve(5)
    admission.reserve(4)
    assert admission.inflight_bytes == 10
    admission.release(6)
    admission.reserve(5)
    assert admission.inflight_bytes == 9


def test_reservation_grows_and_shrinks():
    admission = Admission(max_bytes=10)
    held = admission.reservation()
    for size in (4, 10, 3):
        held.resize(size)
        assert admission.inflight_bytes == size
    admission.reserve(6)
    with pytest.raises(OverloadedError):
        held.resize(5)
    assert admission.inflight_bytes == 9
    held.close()
    assert admission.inflight_bytes == 6


def test_too_large_reservation_is_no_overload():
    held = Admission(max_bytes=10).reservation()
    held.resize(10)
    with pytest.raises(TooLargeError, match="this call needs 11 bytes, and at most 10 may be in flight"):
        held.resize(11)


def test_announced_bytes_are_not_held():
    admission = Admission(max_bytes=10)
    held = admission.reservation()
    held.resize(2)
    held.check_fits(10)
    admission.reserve(3)
    with pytest.raises(OverloadedError, match="5 of at most 10 bytes are in flight, and this request has 6"):
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
        admission.reserve(2)
        assert ended == []
        with pytest.raises(OverloadedError):
            admission.reserve(3)
        assert ended == [0, 1]  # the longest silent ones, and no more than needed
        with pytest.raises(OverloadedError):
            admission.reserve(10)
        assert ended == [0, 1, 2, 3]  # each once
    with pytest.raises(OverloadedError):
        admission.reserve(10)
    assert ended == [0, 1, 2, 3]
