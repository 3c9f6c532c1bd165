"""How the desk counts requests, and the seconds that they took."""

import threading
import time
from collections.abc import Callable

import pytest

from losswire.errors import FieldError
from losswire_server.requests.ends import End
from tests.helpers import eventually
from tests.server.calls.desk.controlled_work import INVALID, LONG, SHORT, Work, answer, answer_pack, evaluated


@pytest.mark.parametrize("seconds", [SHORT, LONG])
def test_requests_are_counted_as_they_end(server, seconds):
    answer_pack(server, Work(seconds, evaluated(3), INVALID, evaluated(), INVALID))
    assert (server.ended("OK"), server.ended("InvalidArgument")) == (4, 2)
    assert server.counted("evaluation_seconds_count") == server.rows == 4


def test_single_request_is_no_pack(server):
    answer(server, Work(SHORT, evaluated()))
    assert (server.rows, server.counted("evaluation_seconds_count")) == (1, 1)
    assert server.ended("OK") == 0


@pytest.mark.parametrize("error", [FieldError("input", "is wrong"), RuntimeError()])
@pytest.mark.parametrize("seconds", [SHORT, LONG])
def test_error_counts_and_holds_nothing(server, seconds, error):
    with pytest.raises(type(error)) as raised:
        answer(server, Work(seconds, evaluated(), error))
    assert raised.value is error
    eventually(lambda: server.admission.inflight_bytes == 0)
    assert (server.rows, server.seconds) == (0, 0)
    assert all(server.ended(code) == 0 for code in ("OK", "InvalidArgument", "Internal"))


@pytest.mark.parametrize("seconds", [SHORT, LONG])
def test_seconds_are_shared_within_a_group(server, seconds):
    def after(pause: float, end: End) -> Callable[[], End]:
        def late() -> End:
            time.sleep(pause)
            return end

        return late

    class SlowlyRead(Work):
        def read(self, data: bytes) -> Work:
            time.sleep(0.01)
            return super().read(data)

    start = time.perf_counter()
    answer_pack(server, SlowlyRead(seconds, after(0.1, evaluated(2)), after(0.3, INVALID), evaluated()))
    took = time.perf_counter() - start
    assert 0.1 + 0.01 * 3 / 4 <= server.seconds < took - 0.3
    buckets = {le: server.counted("evaluation_seconds_bucket", loss="cross_entropy", le=le) for le in ("0.05", "0.1")}
    assert buckets["0.05"] == 1  # the third, which took nothing but a share; the first two took the same


def test_waiting_is_in_no_seconds(server):
    go_on = threading.Event()
    server.hold_up(go_on)
    threading.Timer(0.3, go_on.set).start()
    answer(server, Work(LONG, evaluated()))
    assert server.seconds < 0.3
