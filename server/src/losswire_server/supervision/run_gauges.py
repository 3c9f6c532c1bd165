"""Gauges of runs, of which several processes tell the same run: that one knows most of it which knows most keys."""

from collections.abc import Sequence

from prometheus_client.samples import Sample

from losswire.monitoring.metrics import METRICS
from losswire.monitoring.run_metrics import RUN
from losswire_server.supervision.snapshot import Family, Key

KEYS = "losswire_run_keys"
GAUGES = frozenset(name for name, metric in METRICS.items() if RUN in metric.labels)

Families = dict[str, Family]


def latest(places: Sequence[Families]) -> list[Families]:
    """The metrics of processes, without those of runs of which another process knows more keys."""
    keys = [_keys(families) for families in places]
    most: dict[str, float] = {}
    for each in keys:
        for run, count in each.items():
            most[run] = max(count, most.get(run, count))
    known_better = [{run for run in each if each[run] < most[run]} for each in keys]
    return list(map(_without, places, known_better))


def _keys(families: Families) -> dict[str, float]:
    samples = families[KEYS].samples.values() if KEYS in families else ()
    return {sample.labels[RUN]: sample.value for sample in samples}


def _without(families: Families, runs: set[str]) -> Families:
    return {
        name: family if name not in GAUGES else family._replace(samples=_others(family, runs))
        for name, family in families.items()
    }


def _others(family: Family, runs: set[str]) -> dict[Key, Sample]:
    return {key: sample for key, sample in family.samples.items() if sample.labels[RUN] not in runs}
