"""The metrics of several processes together, while processes come and go."""

import random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from losswire_server.supervision.ledger import Families, Ledger
from losswire_server.supervision.snapshot import families_of
from tests.server.supervision.ledgers import Process, report_all, sum_of, value


@pytest.fixture
def processes():
    return Process(), Process()


@pytest.fixture
def ledger():
    return Ledger(2, 10)


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


def test_exemplar_is_the_latest_of_all_processes(ledger, processes):
    for place in (0, 1, 0):
        processes[place].seconds.observe(1.5, exemplar={"trace_id": str(place)})
        report_all(ledger, processes)
        samples = ledger.total({})["losswire_stage_seconds"].samples.values()
        assert [sample.exemplar.labels for sample in samples if sample.exemplar] == [{"trace_id": str(place)}]


def told(ledger: Ledger, run: str) -> list[float | None]:
    total = ledger.total({})
    return [value(total, f"losswire_run_{name}", run=run) for name in ("keys", "mean_loss", "finished")]


def test_run_is_as_that_process_tells_it_that_knows_most_keys(ledger, processes):
    one, other = processes
    one.tell("a", keys=5, mean=1.5)
    other.tell("a", keys=6, mean=1.25)
    one.tell("b", keys=3, mean=2.0)
    other.tell("b", keys=3, mean=2.0, finished=1)
    other.tell("c", keys=1, mean=0.5)
    report_all(ledger, processes)
    assert told(ledger, "a") == [6, 1.25, 0]
    assert told(ledger, "b") == [3, 2.0, 1]
    assert told(ledger, "c") == [1, 0.5, 0]
    ledger.retire(1)
    assert told(ledger, "a") == [5, 1.5, 0]
    assert told(ledger, "c") == [None, None, None]
