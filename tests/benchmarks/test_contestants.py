from contextlib import contextmanager, nullcontext

import pytest

from benchmarks.batch import Answer, Batch, WrongAnswerError
from benchmarks.contestants import Contestant, Way

pytestmark = pytest.mark.slow

BATCH = Batch(8, 10, "float32", grad=True)


@contextmanager
def contestant(function):
    contestant = Contestant(Way(function))
    try:
        yield contestant
    finally:
        contestant.stop()


@contextmanager
def wrong():
    yield lambda _: nullcontext(lambda: Answer(0.0))


@contextmanager
def unable():
    yield lambda _: 1 / 0


def test_raw_tcp_answers_one_caller_and_many():
    with contestant("benchmarks.wire.tcp:contestant") as tcp:
        tcp.prepare(BATCH)
        assert tcp.seconds() > 0
        assert len(tcp.latencies(5)) == 5
        assert tcp.rate(callers=4, seconds=0.1) > 0


def test_wrong_or_unable_goes_on():
    with contestant("tests.benchmarks.test_contestants:wrong") as mistaken, pytest.raises(WrongAnswerError):
        mistaken.prepare(BATCH)
    with contestant("tests.benchmarks.test_contestants:unable") as unready:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="ZeroDivisionError"):
                unready.prepare(BATCH)


def test_who_has_ended_is_no_reason_to_wait():
    with contestant("benchmarks.no_such_module:contestant") as nobody, pytest.raises(RuntimeError, match="ended"):
        nobody.prepare(BATCH)
