"""Streams that are too slow end where others wait, and nowhere else."""

import pytest

from losswire.heads.content import digest, without_elements
from losswire_server.errors import OverloadedError
from losswire_server.heads.errors import HeadQuotaError
from losswire_server.heads.pace import LEAST_BYTES, SECONDS, Pace
from losswire_server.heads.registry import Heads
from losswire_server.heads.uploads import MOST_UPLOADS, Uploads
from tests.server.heads.making import a_message


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def began(seeds=1):
    uploads = Uploads(Heads(2**30, 100), 300.0)
    entered = [uploads.enter(seed, digest(a_message(seed)), without_elements(a_message(seed))) for seed in range(seeds)]
    clock = Clock()
    upload = entered[0][1]
    return uploads, upload, Pace(upload, uploads, clock), clock


def refuse(uploads):
    with pytest.raises(HeadQuotaError):
        uploads.enter(None, digest(a_message(99)), without_elements(a_message(99)))


def test_slow_stream_goes_on_where_nobody_waits():
    _, upload, pace, clock = began()
    for turn in range(5):
        upload.write(turn, b"0")
        clock.now += SECONDS
        pace.check()
    assert pace.seconds_left == SECONDS


def test_byte_now_and_then_does_not_keep_others_waiting():
    uploads, upload, pace, clock = began(MOST_UPLOADS)
    refuse(uploads)
    for turn in range(5):
        clock.now = SECONDS * turn / 5
        upload.write(turn, b"0")
        pace.check()
    clock.now = SECONDS
    with pytest.raises(OverloadedError, match="sent little or nothing for long, and others wait"):
        pace.check()


def test_stream_that_waits_for_its_turn_ends_a_slow_one():
    _, upload, pace, clock = began()
    upload.waiting_count = 1
    pace.check()
    clock.now = SECONDS
    with pytest.raises(OverloadedError):
        pace.check()


@pytest.mark.parametrize("came", [LEAST_BYTES, "all"])
def test_fast_stream_goes_on_whoever_waits(came):
    uploads, upload, pace, clock = began(MOST_UPLOADS)
    refuse(uploads)
    clock.now = SECONDS
    upload.received_bytes = upload.total_bytes if came == "all" else came
    pace.check()
