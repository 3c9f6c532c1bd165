"""The sums of all series, as Prometheus's library shows metrics."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from losswire.monitoring.metrics import METRICS
from losswire_server.metrics.series.sums import Form, LossSums, Unsummed

Key = tuple[str, str]  # series and loss

COUNTERS: Mapping[str, Callable[[LossSums], float]] = {
    "losswire_loss_sum_total": lambda sums: sums.loss.positive.shown,
    "losswire_negative_loss_sum_total": lambda sums: sums.loss.negative.shown,
    "losswire_weight_sum_total": lambda sums: sums.weight.positive.shown,
    "losswire_negative_weight_sum_total": lambda sums: sums.weight.negative.shown,
    "losswire_ignored_rows_total": lambda sums: sums.ignored,
    "losswire_nonfinite_rows_total": lambda sums: sums.nonfinite,
    "losswire_predicted_rows_total": lambda sums: sums.predicted,
    "losswire_correct_rows_total": lambda sums: sums.correct,
}


class Values(NamedTuple):
    """The numbers of some sums at one time: no evaluation is in some of them and not in others.

    Attributes:
        counters: By name.
        rows: By dtype and transport.
        unsummed: By reason.
        buckets: Of the histogram, infinity's too.
    """

    counters: Mapping[str, float]
    rows: Mapping[Form, int]
    unsummed: Mapping[Unsummed, int]
    buckets: list[int]

    @classmethod
    def of(cls, sums: LossSums) -> "Values":
        counters = {name: value(sums) for name, value in COUNTERS.items()}
        return cls(counters, dict(sums.rows), dict(sums.unsummed), [*sums.tallied.tolist(), sums.finite])


def exposed(all_values: Mapping[Key, Values], series: int) -> Iterable[Metric]:
    """The metrics of all series, of which callers have named so many."""
    for name in COUNTERS:
        yield _counter(name, ((key, values.counters[name]) for key, values in all_values.items()))
    rows = (((*key, *form), count) for key, values in all_values.items() for form, count in values.rows.items())
    yield _counter("losswire_rows_total", rows)
    unsummed = (((*key, reason), n) for key, values in all_values.items() for reason, n in values.unsummed.items())
    yield _counter("losswire_unsummed_evaluations_total", unsummed)
    yield _histogram(all_values)
    yield GaugeMetricFamily("losswire_series", METRICS["losswire_series"].meaning, series)


def _counter(name: str, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = CounterMetricFamily(name, METRICS[name].meaning, labels=tuple(METRICS[name].labels))
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _histogram(all_values: Mapping[Key, Values]) -> Metric:
    """Has no ``_sum``: losses may be negative, and then it would fall. So OpenMetrics forbids a ``_count`` too."""
    metric = METRICS["losswire_row_loss"]
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=tuple(metric.labels))
    bounds = [floatToGoString(bound) for bound in (*metric.buckets, math.inf)]  # type: ignore[no-untyped-call]
    for key, values in all_values.items():
        labels = dict(zip(metric.labels, key, strict=True))
        for bound, count in zip(bounds, values.buckets, strict=True):
            family.samples.append(Sample(f"{metric.name}_bucket", {**labels, "le": bound}, count))
    return family
