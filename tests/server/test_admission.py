import pytest

from losswire_server.admission import Admission
from losswire_server.errors import OverloadedError, TooLargeError


def test_requests_are_admitted_up_to_the_limit_and_again_after_release():
    admission = Admission(max_bytes=10)
    admission.reserve(6)
    with pytest.raises(OverloadedError, match="6 of at most 10 bytes are in flight, and this request has 5"):
        admission.reserve(5)
    admission.reserve(4)
    assert admission.inflight_bytes == 10
    admission.release(6)
    admission.reserve(5)
    assert admission.inflight_bytes == 9


def test_reservation_grows_and_shrinks_within_the_limit():
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


def test_reservation_that_never_fits_is_no_overload():
    held = Admission(max_bytes=10).reservation()
    held.resize(10)
    with pytest.raises(TooLargeError, match="this stream needs 11 bytes, and at most 10 may be in flight"):
        held.resize(11)
