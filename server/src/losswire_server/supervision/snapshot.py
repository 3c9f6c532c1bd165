"""The metrics of one process at one time, as they travel to the supervisor."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample

Series = tuple[str, str]  # a series and a loss
Part = tuple[str, ...]  # the same, and then a dtype and a transport where a metric has them
Key = tuple[str, tuple[tuple[str, str], ...]]  # a sample's name and labels


class Family(NamedTuple):
    """A metric, with its samples by their keys."""

    name: str
    documentation: str
    type: str
    unit: str
    samples: dict[Key, Sample]

    def metric(self, names: Iterable[str] | None = None) -> Metric:
        """The same for Prometheus's library, or only the samples of these names."""
        metric = Metric(self.name, self.documentation, self.type, self.unit)
        metric.samples = [sample for sample in self.samples.values() if names is None or sample.name in names]
        return metric


class Snapshot(NamedTuple):
    """The metrics of one process.

    Attributes:
        families: Its metrics, by name.
        began: When each part of the metrics by series began, in seconds of the clock that all processes of a machine
            share.
        used: When each series was last evaluated.
    """

    families: dict[str, Family]
    began: Mapping[Part, float]
    used: Mapping[Series, float]


def families_of(metrics: Iterable[Metric]) -> dict[str, Family]:
    return {
        metric.name: Family(
            metric.name, metric.documentation, metric.type, metric.unit, {key_of(s): s for s in metric.samples}
        )
        for metric in metrics
    }


def key_of(sample: Sample) -> Key:
    return sample.name, tuple(sample.labels.items())


def to_json(metrics: Iterable[Metric], began: Mapping[Part, float], used: Mapping[Series, float]) -> dict[str, Any]:
    """A snapshot in JSON's types."""
    return {
        "families": [(m.name, m.documentation, m.type, m.unit, list(map(_sample_to_json, m.samples))) for m in metrics],
        "began": [(*part, at) for part, at in dict(began).items()],
        "used": [(*series, at) for series, at in dict(used).items()],
    }


def from_json(told: dict[str, Any]) -> Snapshot:
    """What `to_json` has written."""
    families = {}
    for name, documentation, kind, unit, samples in told["families"]:
        read = map(_sample_from_json, samples)
        families[name] = Family(name, documentation, kind, unit, {key_of(sample): sample for sample in read})
    began = {tuple(part): at for *part, at in told["began"]}
    return Snapshot(families, began, {(series, loss): at for series, loss, at in told["used"]})


def _sample_to_json(sample: Sample) -> tuple[Any, ...]:
    exemplar = sample.exemplar
    return sample.name, sample.labels, sample.value, exemplar and (exemplar.labels, exemplar.value, exemplar.timestamp)


def _sample_from_json(told: list[Any]) -> Sample:
    name, labels, value, exemplar = told
    return Sample(name, labels, value, exemplar=Exemplar(*exemplar) if exemplar else None)
