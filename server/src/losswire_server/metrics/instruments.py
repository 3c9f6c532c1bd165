"""Makes metrics of Prometheus's library from the table of metrics, so that nothing of them is spelled twice."""

from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.metrics import MetricWrapperBase

from losswire.monitoring.metrics import METRICS

M = TypeVar("M", bound=MetricWrapperBase)


def counter(registry: CollectorRegistry, name: str) -> Counter:
    """The counter of that name, which ends in ``_total``."""
    metric = METRICS[name]
    return Counter(name.removesuffix("_total"), metric.meaning, metric.labels, registry=registry)


def gauge(registry: CollectorRegistry, name: str) -> Gauge:
    metric = METRICS[name]
    return Gauge(name, metric.meaning, metric.labels, registry=registry)


def histogram(registry: CollectorRegistry, name: str) -> Histogram:
    metric = METRICS[name]
    return Histogram(name, metric.meaning, metric.labels, buckets=metric.buckets, registry=registry)


def info(registry: CollectorRegistry, name: str) -> Info:
    """The metric of that name, which ends in ``_info``."""
    return Info(name.removesuffix("_info"), METRICS[name].meaning, registry=registry)


def children(metric: M, name: str) -> dict[tuple[str, ...], M]:
    """The time series of all values of the labels, which form closed sets.

    They exist from the start: a counter that Prometheus first sees above zero loses its first increase.
    """
    values = [values or () for values in METRICS[name].labels.values()]
    return {labels: metric.labels(*labels) for labels in product(*values)}


def by_value(metric: M, name: str) -> dict[str, M]:
    """As `children`, of a metric with one label."""
    return {value: child for (value,), child in children(metric, name).items()}


def exemplar(trace_id: str) -> dict[str, str] | None:
    """The labels of an exemplar, under the name by which Grafana finds traces; None without a trace."""
    return {"trace_id": trace_id} if trace_id else None
