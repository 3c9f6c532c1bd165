import threading
import time
from types import SimpleNamespace

import pytest

from losswire_client.cli._in_flight import evaluate_in_order


def evaluated(evaluate, batches, window=3):
    return evaluate_in_order(SimpleNamespace(mean=evaluate), batches, loss="mean", window=window, scale=10)


def test_results_come_in_the_order_of_the_batches():
    def evaluate(input, target, scale):
        time.sleep(0.01 * (3 - input % 4))  # later ones end first
        return (input + target) * scale

    assert list(evaluated(evaluate, [(i, 1) for i in range(9)])) == [(i + 1) * 10 for i in range(9)]


def test_so_many_are_under_way_and_no_more_are_read():
    read, under_way, most = [], [], []
    lock = threading.Lock()

    def batches():
        for i in range(12):
            read.append(i)
            yield i, 0

    def evaluate(input, target, scale):  # noqa: ARG001 - those of a loss
        with lock:
            under_way.append(input)
            most.append(len(under_way))
        time.sleep(0.02)
        with lock:
            under_way.remove(input)
        return input

    for result in evaluated(evaluate, batches()):
        assert len(read) <= result + 1 + 3
    assert max(most) == 3


def test_error_comes_in_its_place_and_ends_the_rest():
    calls = []

    def evaluate(input, target, scale):  # noqa: ARG001
        calls.append(input)
        if input == 2:
            raise ValueError("the third")
        return input

    results = evaluated(evaluate, ((i, 0) for i in range(1000)))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)
    assert len(calls) <= 6


def test_no_batches_have_no_results():
    assert list(evaluated(print, [])) == []
