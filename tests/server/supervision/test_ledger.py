"""The metrics of several processes together, while processes come and go."""

import json
import random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from losswire_server.supervision.ledger import Families, Ledger
from losswire_server.supervision.snapshot import families_of, from_json, to_json


class Process:
    """The metrics of a process."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.sums = Counter("losswire_loss_sum", "Sums.", ["series", "loss"], registry=registry)
        self.seconds = Histogram("losswire_stage_seconds", "Waits.", buckets=[1, 2], registry=registry)
        self.waiting = Gauge("losswire_queued_rows", "Rows.", registry=registry)
        self.start = Gauge("process_start_time_seconds", "Start.", registry=registry)
        Gauge("losswire_limit", "Limits.", ["limit"], registry=registry).labels("idle_seconds").set(300)
        self.names = Gauge("losswire_series", "Names.", registry=registry)
        used = "losswire_device_memory_used_bytes"
        self.device = Gauge(used, "Of the GPU.", ["device"], registry=registry)
        Info("losswire_build", "Versions.", registry=registry).info({"version": "1"})
        self.began: dict[tuple[str, ...], float] = {}
        self.used: dict[tuple[str, str], float] = {}

    def report(self, ledger: Ledger, place: int) -> None:
        """As over a link."""
        ledger.report(place, from_json(json.loads(json.dumps(to_json(self.registry.collect(), self.began, self.used)))))

    def forget(self, series: str) -> None:
        self.sums.remove(series, "nll_loss")
        del self.used[series, "nll_loss"], self.began[series, "nll_loss"]

    def add(self, series: str, value: float, at: float = 0.0) -> None:
        self.began.setdefault((series, "nll_loss"), at)
        self.used[series, "nll_loss"] = at
        self.sums.labels(series, "nll_loss").inc(value)


def value(families: Families, name: str, **labels: Any) -> float | None:
    samples = [sample for family in families.values() for sample in family.samples.values()]
    return next((sample.value for sample in samples if (sample.name, sample.labels) == (name, labels)), None)


def sum_of(ledger: Ledger, series: str) -> float | None:
    return value(ledger.total({}), "losswire_loss_sum_total", series=series, loss="nll_loss")


@pytest.fixture
def processes():
    return Process(), Process()


@pytest.fixture
def ledger():
    return Ledger(2, 10)


def report_all(ledger: Ledger, processes: tuple[Process, ...]) -> None:
    for place, process in enumerate(processes):
        process.report(ledger, place)


def test_limits_are_those_of_each_process(ledger, processes):
    report_all(ledger, processes)
    assert value(ledger.total({}), "losswire_limit", limit="idle_seconds") == 300


def test_kinds_are_put_together_as_each_is_meant(ledger, processes):
    for number, process in enumerate(processes):
        process.add("a", number + 1)
        process.seconds.observe(number + 0.5)
        process.waiting.set(10)
        process.start.set(100 + number)
    report_all(ledger, processes)
    total = ledger.total({})
    assert sum_of(ledger, "a") == 3
    assert [value(total, "losswire_stage_seconds_bucket", le=le) for le in ("1.0", "2.0", "+Inf")] == [1, 2, 2]
    assert value(total, "losswire_stage_seconds_sum") == 2
    assert value(total, "losswire_queued_rows") == 20
    assert value(total, "process_start_time_seconds") == 100
    assert value(total, "losswire_build_info", version="1") == 1


def test_dead_process_leaves_its_counts_and_nothing_in_use(ledger, processes):
    for process in processes:
        process.add("a", 5)
        process.waiting.set(7)
    report_all(ledger, processes)
    ledger.retire(0)
    assert sum_of(ledger, "a") == 10
    assert value(ledger.total({}), "losswire_queued_rows") == 7
    fresh = Process()
    fresh.add("a", 1)
    fresh.report(ledger, 0)
    assert sum_of(ledger, "a") == 11
    ledger.retire(0)
    ledger.retire(1)
    assert sum_of(ledger, "a") == 11


def test_counters_never_fall_by_rounding(ledger):
    rng, seen, living = random.Random(0), 0.0, [Process(), Process()]
    for _ in range(300):
        place = rng.randrange(2)
        living[place].add("a", rng.uniform(0, 10.0 ** rng.randrange(-9, 9)))
        living[place].report(ledger, place)
        if rng.random() < 0.3:
            place = rng.randrange(2)
            ledger.retire(place)
            living[place] = Process()
        now = sum_of(ledger, "a") or 0.0
        assert now >= seen
        seen = now


def test_series_began_with_its_first_process(ledger, processes):
    processes[0].add("a", 1, at=20.0)
    processes[1].add("a", 1, at=10.0)
    report_all(ledger, processes)
    ledger.retire(1)
    assert ledger.began == {("a", "nll_loss"): 10.0}


def test_names_of_series_are_limited_over_all_processes(processes):
    ledger = Ledger(2, 3)
    for place, process in enumerate(processes):
        for number in range(3):
            process.add(f"{place}-{number}", 1, at=float(number))
    report_all(ledger, processes)
    report_all(ledger, processes)
    assert [sum_of(ledger, f"0-{number}") for number in range(3)] == [1, 1, 1]
    assert [sum_of(ledger, f"1-{number}") for number in range(3)] == [None] * 3
    assert sum_of(ledger, "other") == 3
    assert ("other", "nll_loss") in ledger.began


def test_one_process_is_shown_as_by_itself(ledger, processes):
    process = processes[0]
    process.add('a"\n', 0.1)
    process.seconds.observe(1.5, exemplar={"trace_id": "1"})
    process.waiting.set(float("nan"))
    process.names.set(1)
    process.report(ledger, 0)
    shown = CollectorRegistry()
    shown.register(Shown(ledger.total({})))
    for generate in (generate_latest, generate_openmetrics):
        assert without_created(generate(shown)) == without_created(generate(process.registry))


class Shown:
    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        return [family.metric() for family in self._families.values()]


def without_created(text: bytes) -> list[str]:
    return [line for line in text.decode().splitlines() if "_created" not in line]


def test_supervisor_counts_too(ledger, processes):
    report_all(ledger, processes)
    own = Process()
    own.waiting.set(1)
    assert value(ledger.total(families_of(own.registry.collect())), "losswire_queued_rows") == 1


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


def test_names_in_use_are_counted_once(ledger, processes):
    for process in processes:
        process.add("a", 1)
        process.names.set(1)
    processes[1].add("b", 1)
    processes[1].names.set(2)
    report_all(ledger, processes)
    assert value(ledger.total({}), "losswire_series") == 2


def test_gpu_is_counted_once(ledger, processes):
    for process in processes:
        process.device.labels("cuda:0").set(80)
    report_all(ledger, processes)
    assert value(ledger.total({}), "losswire_device_memory_used_bytes", device="cuda:0") == 80
