"""The sums of all series, as Prometheus's library shows metrics."""

import math
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from losswire.monitoring.metrics import METRICS
from losswire_server.metrics.series.sums import LossSums

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


def exposed(all_sums: Mapping[Key, LossSums], series: int) -> Iterable[Metric]:
    """The metrics of all series, of which callers have named so many."""
    for name, value in COUNTERS.items():
        yield _counter(name, ((key, value(sums)) for key, sums in all_sums.items()))
    rows = (((*key, *form), count) for key, sums in all_sums.items() for form, count in list(sums.rows.items()))
    yield _counter("losswire_rows_total", rows)
    unsummed = (((*key, reason), n) for key, sums in all_sums.items() for reason, n in sums.unsummed.items())
    yield _counter("losswire_unsummed_evaluations_total", unsummed)
    yield _histogram(all_sums)
    yield GaugeMetricFamily("losswire_series", METRICS["losswire_series"].meaning, series)


def _counter(name: str, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = CounterMetricFamily(name, METRICS[name].meaning, labels=tuple(METRICS[name].labels))
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _histogram(all_sums: Mapping[Key, LossSums]) -> Metric:
    """Has no ``_sum``: losses may be negative, and then it would fall. So OpenMetrics forbids a ``_count`` too."""
    metric = METRICS["losswire_row_loss"]
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=tuple(metric.labels))
    bounds = [floatToGoString(bound) for bound in (*metric.buckets, math.inf)]  # type: ignore[no-untyped-call]
    for key, sums in all_sums.items():
        labels = dict(zip(metric.labels, key, strict=True))
        counts = [*sums.tallied.tolist(), sums.finite]
        for bound, count in zip(bounds, counts, strict=True):
            family.samples.append(Sample(f"{metric.name}_bucket", {**labels, "le": bound}, count))
    return family
