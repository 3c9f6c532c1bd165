"""What the store tells of runs, as metrics."""

import math

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from losswire_server.metrics.runs import ASKED_SECONDS, IDLE_SECONDS, MOST_RUNS, RunMetrics
from losswire_server.runs.observer import Commit
from losswire_server.runs.records import RunRecord, Totals
from tests.server.runs.making import sums_of

NOW = 1000.0


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def metrics(registry, clock):
    return RunMetrics(registry, clock)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


def record(name="a", keys=2, *losses, at=NOW, expected=None, finished=None, created=0.0):
    totals = Totals(keys, sums_of(*losses))
    return RunRecord(name, "d", False, expected, created, at, finished, totals)


def gauges(registry, run="a"):
    names = ("keys", "expected_keys", "rows", "nonfinite_rows", "mean_loss", "finished")
    return {name: registry.get_sample_value(f"losswire_run_{name}", {"run": run}) for name in names}


def test_entries_are_counted_by_what_came_of_them(registry, metrics):
    metrics.committed(Commit(0.25, counted=4, repeats=3, conflicts=2, refused=1, runs=[]))
    for outcome, count in {"counted": 4, "repeat": 3, "conflict": 2, "refused": 1}.items():
        assert registry.get_sample_value("losswire_run_entries_total", {"outcome": outcome}) == count
    assert registry.get_sample_value("losswire_run_commit_seconds_sum") == 0.25
    assert registry.get_sample_value("losswire_run_commit_entries_sum") == 10


def test_failures_are_counted(registry, metrics):
    metrics.unavailable()
    assert registry.get_sample_value("losswire_run_store_failures_total") == 1


def test_run_has_its_totals(registry, metrics):
    metrics.learn([record("a", 2, 0.5, 1.0, 3.0, expected=8), record("b", 1, math.nan, 1.0, finished=NOW)])
    told = {"keys": 2, "expected_keys": 8, "rows": 3, "nonfinite_rows": 0, "mean_loss": 1.5, "finished": 0}
    assert gauges(registry) == told
    of_b = gauges(registry, "b")
    assert of_b["expected_keys"] is None
    assert math.isnan(of_b.pop("mean_loss"))
    assert (of_b["nonfinite_rows"], of_b["finished"]) == (1, 1)


def test_finished_run_has_the_keys_that_were_expected(metrics, registry):
    metrics.learn([record("open", 2, 1.0, expected=8), record("finished", 2, 1.0, expected=8, finished=NOW)])
    found = {run: registry.get_sample_value("losswire_run_expected_keys", {"run": run}) for run in ("open", "finished")}
    assert found == {"open": 8, "finished": 2}


def test_number_that_a_run_has_outgrown_is_not_told(metrics, registry):
    for keys, expected in ((8, 8), (9, None)):
        metrics.learn([record("a", keys, 1.0, expected=8)])
        assert registry.get_sample_value("losswire_run_expected_keys", {"run": "a"}) == expected


def test_run_without_rows_has_no_mean(registry, metrics):
    metrics.learn([record("a", 0)])
    assert math.isnan(gauges(registry)["mean_loss"])


def test_only_the_latest_are_shown(registry, metrics):
    metrics.learn([record(f"run-{number:02}", at=NOW + number) for number in range(MOST_RUNS + 5)])
    assert metrics.shown == [f"run-{number:02}" for number in range(5, MOST_RUNS + 5)]
    assert generate_latest(registry).decode().count("losswire_run_keys{") == MOST_RUNS


def test_idle_run_goes_and_a_finished_one_stays_for_a_while(metrics, clock):
    metrics.learn([record("idle"), record("finished", finished=NOW + 10)])
    clock.now += IDLE_SECONDS
    metrics.learn([])
    assert metrics.shown == ["finished"]
    clock.now += 10
    metrics.learn([])
    assert metrics.shown == []


def test_deleted_run_goes(metrics):
    metrics.learn([record("a"), record("b")])
    metrics.learn([], gone=["a"])
    assert metrics.shown == ["b"]


def test_what_was_read_before_a_commit_is_older(registry, metrics):
    metrics.learn([record("a", 5)])
    metrics.learn([record("a", 4)])
    assert gauges(registry)["keys"] == 5
    metrics.learn([record("a", 5, finished=NOW)])
    assert gauges(registry)["finished"] == 1


def test_run_that_was_deleted_and_created_anew_begins_anew(registry, metrics):
    metrics.learn([record("a", 5)])
    metrics.learn([record("a", 1, created=NOW)])
    assert gauges(registry)["keys"] == 1


def test_nobody_watches_once_nobody_asks(registry, metrics, clock):
    clock.now += ASKED_SECONDS + 1
    assert not metrics.is_watched
    registry.get_sample_value("losswire_run_keys", {"run": "a"})
    assert metrics.is_watched
