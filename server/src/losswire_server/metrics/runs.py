"""Metrics of runs: what the store writes, and how far the latest runs are."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from losswire.monitoring.metrics import METRICS
from losswire_server.metrics.instruments import by_value, counter, histogram
from losswire_server.runs.observer import Commit
from losswire_server.runs.records import RunRecord

MOST_RUNS = 10  # each is seven series
IDLE_SECONDS = 86_400.0  # after which a run is shown no more
ASKED_SECONDS = 90.0  # longer than any time between two scrapes

GAUGES: Mapping[str, Callable[[RunRecord], float | None]] = {
    "losswire_run_keys": lambda run: run.totals.key_count,
    "losswire_run_expected_keys": lambda run: _expected(run),
    "losswire_run_rows": lambda run: run.totals.sums.row_count,
    "losswire_run_nonfinite_rows": lambda run: run.totals.sums.loss.nonfinite_count,
    "losswire_run_mean_loss": lambda run: run.totals.sums.statistics.mean,
    "losswire_run_finished": lambda run: run.finished_at is not None,
}


class RunMetrics:
    """Counts what is written of runs, and shows those that were added to last. May be used from any thread.

    It is an `Observer` of the store.

    Args:
        registry: Gets the metrics.
        clock: Gives seconds since the epoch.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        name = "losswire_run_entries_total"
        self._entries = by_value(counter(registry, name), name)
        self._seconds = histogram(registry, "losswire_run_commit_seconds")
        self._sizes = histogram(registry, "losswire_run_commit_entries")
        self._failures = counter(registry, "losswire_run_store_failures_total")
        self._latest: dict[str, RunRecord] = {}
        self._lock = threading.Lock()
        self._clock = clock
        self._asked = clock()
        registry.register(self)

    @property
    def is_watched(self) -> bool:
        """Whether anybody has looked at the metrics lately."""
        return self._clock() - self._asked < ASKED_SECONDS

    @property
    def shown(self) -> list[str]:
        """The names of the runs that are shown."""
        with self._lock:
            return list(self._latest)

    def committed(self, commit: Commit) -> None:
        told = commit.counted, commit.repeats, commit.conflicts, commit.refused
        for child, count in zip(self._entries.values(), told, strict=True):
            child.inc(count)
        self._seconds.observe(commit.seconds)
        self._sizes.observe(sum(told))
        self.learn(commit.runs)

    def unavailable(self) -> None:
        self._failures.inc()

    def learn(self, runs: Iterable[RunRecord], gone: Iterable[str] = ()) -> None:
        """Takes runs as they are on disk, and forgets those that are there no more, and the idlest of too many."""
        with self._lock:
            for name in gone:
                self._latest.pop(name, None)
            known = {**self._latest, **{run.name: self._newer(run) for run in runs}}
            since = self._clock() - IDLE_SECONDS
            busiest = sorted(filter(lambda run: _changed_at(run) > since, known.values()), key=_changed_at)[-MOST_RUNS:]
            self._latest = {run.name: run for run in busiest}

    def _newer(self, run: RunRecord) -> RunRecord:
        """A run as it was read may be older than what was written meanwhile."""
        known = self._latest.get(run.name, run)
        is_same = known.created_at == run.created_at
        return known if is_same and (known.totals.key_count or 0) > (run.totals.key_count or 0) else run

    def collect(self) -> Iterator[Metric]:
        self._asked = self._clock()
        with self._lock:
            runs = list(self._latest.values())
        for family, value in zip(self.describe(), GAUGES.values(), strict=True):
            for run in runs:
                if (number := value(run)) is not None:
                    family.add_metric((run.name,), number)
            yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The metrics without numbers, by which callers find them who ask for some metrics alone."""
        return (GaugeMetricFamily(name, METRICS[name].meaning, labels=("run",)) for name in GAUGES)


def _changed_at(run: RunRecord) -> float:
    return max(run.updated_at, run.finished_at or 0.0)


def _expected(run: RunRecord) -> int | None:
    """A finished run has the keys that were expected at its end. What was noted says nothing once there are more."""
    count, noted = run.totals.key_count or 0, run.expected_keys
    if noted is None or run.finished_at is not None:
        return noted and count
    return noted if count <= noted else None
