import pytest

from losswire_server.admission import Admission
from losswire_server.errors import OverloadedError


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
