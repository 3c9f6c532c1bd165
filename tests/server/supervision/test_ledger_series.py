"""Series of several processes, which begin, pass a limit, and are forgotten."""

import random

import pytest

from losswire_server.supervision.ledger import Ledger
from tests.server.supervision.ledgers import Process, report_all, sum_of


@pytest.fixture
def processes():
    return Process(), Process()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def forgetful(clock):
    return Ledger(2, 10, idle_seconds=100, clock=clock)


def test_series_that_one_process_forgot_never_falls(forgetful, processes, clock):
    for process in processes:
        process.add("a", 5)
    report_all(forgetful, processes)
    clock.now = 90
    processes[1].add("a", 1, at=90)
    processes[0].forget("a")
    report_all(forgetful, processes)
    assert sum_of(forgetful, "a") == 11
    processes[0].add("a", 2, at=90)
    report_all(forgetful, processes)
    assert sum_of(forgetful, "a") == 13


def test_series_that_one_process_forgot_and_has_anew_never_falls(forgetful, processes, clock):
    for process in processes:
        process.add("a", 5)
    report_all(forgetful, processes)
    assert sum_of(forgetful, "a") == 10
    clock.now = 90
    processes[0].forget("a")
    for process in processes:
        process.add("a", 1, at=90)
    report_all(forgetful, processes)
    assert sum_of(forgetful, "a") == 12


def test_series_that_nobody_uses_is_forgotten_with_what_the_dead_left(forgetful, processes, clock):
    for process in processes:
        process.add("a", 5)
        process.add("default", 1)
    report_all(forgetful, processes)
    forgetful.retire(1)
    assert sum_of(forgetful, "a") == 10
    clock.now = 101
    for process in processes:
        process.forget("a")
    processes[0].report(forgetful, 0)
    assert sum_of(forgetful, "a") is None
    assert sum_of(forgetful, "default") == 2
    assert {part[0] for part in forgetful.began} == {"default"}


def test_forgotten_names_make_room(clock, processes):
    ledger = Ledger(2, 1, idle_seconds=100, clock=clock)
    processes[0].add("a", 1)
    report_all(ledger, processes)
    clock.now = 101
    processes[0].forget("a")
    processes[0].add("b", 1, at=101)
    report_all(ledger, processes)
    report_all(ledger, processes)
    assert sum_of(ledger, "b") == 1


def test_series_past_the_limit_stays_other_once_there_is_room(clock, processes):
    ledger = Ledger(2, 1, idle_seconds=100, clock=clock)
    processes[0].add("a", 1)
    report_all(ledger, processes)
    assert sum_of(ledger, "a") == 1
    processes[1].add("b", 5, at=1)
    report_all(ledger, processes)
    assert sum_of(ledger, "other") == 5
    clock.now = 101
    processes[0].forget("a")
    processes[1].add("b", 1, at=101)
    report_all(ledger, processes)
    assert sum_of(ledger, "a") is None
    assert (sum_of(ledger, "other"), sum_of(ledger, "b")) == (6, None)


def test_forgotten_series_past_the_limit_leaves_its_counts_in_other(clock, processes):
    ledger = Ledger(2, 1, idle_seconds=100, clock=clock)
    processes[0].add("a", 1, at=100)
    report_all(ledger, processes)
    assert sum_of(ledger, "a") == 1
    for name, value in (("b", 5), ("c", 3)):
        processes[1].add(name, value)
    report_all(ledger, processes)
    assert sum_of(ledger, "other") == 8
    clock.now = 101
    processes[1].forget("b")
    processes[1].add("c", 2, at=101)
    report_all(ledger, processes)
    assert sum_of(ledger, "other") == 10


def test_series_used_anew_elsewhere_keeps_what_others_have_left(forgetful, processes, clock):
    for process in processes:
        process.add("a", 5)
    report_all(forgetful, processes)
    assert sum_of(forgetful, "a") == 10
    clock.now = 101
    processes[0].forget("a")
    processes[1].add("a", 1, at=100)
    report_all(forgetful, processes)
    assert sum_of(forgetful, "a") == 11


def test_other_never_falls_while_names_come_and_go(clock, processes):
    ledger, rng, seen, living = Ledger(2, 3, idle_seconds=10, clock=clock), random.Random(0), 0.0, list(processes)
    added = 0.0
    for step in range(400):
        clock.now = float(step)
        for place, process in enumerate(living):
            for name, loss in [key for key, at in process.used.items() if step - at > 10]:
                assert loss == "nll_loss"
                process.forget(name)
            number = rng.uniform(0, 10.0 ** rng.randrange(-9, 9))
            process.add(f"{place}-{rng.randrange(9)}", number, at=float(step))
            added += number
            process.report(ledger, place)
        if rng.random() < 0.1:
            ledger.retire(0)
            living[0] = Process()
        now = sum_of(ledger, "other") or 0.0
        assert seen <= now <= added
        seen = now
