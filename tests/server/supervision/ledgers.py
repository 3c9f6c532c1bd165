"""Processes with metrics, whose reports a ledger takes."""

import json
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from losswire_server.supervision.ledger import Families, Ledger
from losswire_server.supervision.snapshot import from_json, to_json


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
        self.keys, self.mean, self.finished = (
            Gauge(f"losswire_run_{name}", "Of runs.", ["run"], registry=registry)
            for name in ("keys", "mean_loss", "finished")
        )
        Info("losswire_build", "Versions.", registry=registry).info({"version": "1"})
        self.began: dict[tuple[str, ...], float] = {}
        self.used: dict[tuple[str, str], float] = {}

    def report(self, ledger: Ledger, place: int) -> None:
        """As over a link."""
        ledger.report(place, from_json(json.loads(json.dumps(to_json(self.registry.collect(), self.began, self.used)))))

    def forget(self, series: str) -> None:
        self.sums.remove(series, "nll_loss")
        del self.used[series, "nll_loss"], self.began[series, "nll_loss"]

    def tell(self, run: str, keys: float, mean: float, finished: float = 0) -> None:
        """What it knows of a run."""
        for gauge, value in ((self.keys, keys), (self.mean, mean), (self.finished, finished)):
            gauge.labels(run).set(value)

    def add(self, series: str, value: float, at: float = 0.0) -> None:
        self.began.setdefault((series, "nll_loss"), at)
        self.used[series, "nll_loss"] = at
        self.sums.labels(series, "nll_loss").inc(value)


def value(families: Families, name: str, **labels: Any) -> float | None:
    samples = [sample for family in families.values() for sample in family.samples.values()]
    return next((sample.value for sample in samples if (sample.name, sample.labels) == (name, labels)), None)


def sum_of(ledger: Ledger, series: str) -> float | None:
    return value(ledger.total({}), "losswire_loss_sum_total", series=series, loss="nll_loss")


def report_all(ledger: Ledger, processes: tuple[Process, ...]) -> None:
    for place, process in enumerate(processes):
        process.report(ledger, place)
