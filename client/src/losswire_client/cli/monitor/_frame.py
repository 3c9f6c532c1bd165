"""The numbers to show for an interval, computed without clock and terminal so that tests can check them."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from losswire_client.cli.monitor._interval import Interval, histogram_quantile

UNSUMMED = "losswire_unsummed_evaluations_total"


class Latency(NamedTuple):
    """Percentiles in seconds; NaN if there were no calls."""

    p50: float
    p99: float


class Method(NamedTuple):
    """The calls of an RPC.

    Attributes:
        under_way: How many calls are under way.
        rate: How many calls ended per second.
        errors: How many of these failed, by gRPC's codes.
    """

    name: str
    under_way: float
    rate: float
    errors: Mapping[str, float]
    latency: Latency


class Loss(NamedTuple):
    """The evaluations of a loss.

    Attributes:
        rate: Evaluations per second.
        rows: Rows per second.
    """

    name: str
    rate: float
    rows: float
    latency: Latency


class Series(NamedTuple):
    """A series in the interval.

    Attributes:
        weight: The weight that its mean divides by, per second.
        mean: Mean loss; NaN if nothing was evaluated.
        left_out: How many evaluations are not in the mean, by the reason: ``nonfinite``, ``negative`` or ``immense``.
    """

    name: str
    loss: str
    weight: float
    mean: float
    left_out: Mapping[str, float]


class Frame(NamedTuple):
    """All numbers to show; NaN for numbers that the server does not report.

    Attributes:
        started: When the server started, in seconds since the epoch.
        cpu: Cores in use.
    """

    version: str
    started: float
    cpu: float
    resident_bytes: float
    inflight_bytes: float
    shared_memory_bytes: float
    methods: list[Method]
    losses: list[Loss]
    series: list[Series]

    @classmethod
    def of(cls, interval: Interval) -> "Frame":
        value = interval.after.value
        versions = interval.after.sums("losswire_build_info", "version")
        return cls(
            version="".join(version for (version,) in versions),
            started=value("process_start_time_seconds"),
            cpu=interval.rates("process_cpu_seconds_total").get((), math.nan),
            resident_bytes=value("process_resident_memory_bytes"),
            inflight_bytes=value("losswire_inflight_bytes"),
            shared_memory_bytes=value("losswire_shared_memory_bytes"),
            methods=_methods(interval),
            losses=_losses(interval),
            series=_series(interval),
        )


def _methods(interval: Interval) -> list[Method]:
    """The methods that were ever called."""
    started = interval.after.sums("grpc_server_started_total", "grpc_method")
    handled = interval.after.sums("grpc_server_handled_total", "grpc_method")
    rates = interval.rates("grpc_server_handled_total", "grpc_method")
    by_code = interval.rates("grpc_server_handled_total", "grpc_method", "grpc_code")
    buckets = interval.buckets("grpc_server_handling_seconds", "grpc_method")
    return [
        Method(
            name=name,
            under_way=count - handled.get((name,), 0.0),
            rate=rates.get((name,), 0.0),
            errors={code: rate for (method, code), rate in by_code.items() if method == name and code != "OK" and rate},
            latency=_latency(buckets.get(name, {})),
        )
        for (name,), count in started.items()
        if count
    ]


def _losses(interval: Interval) -> list[Loss]:
    """The losses that were ever evaluated."""
    counts = interval.after.sums("losswire_evaluation_seconds_count", "loss")
    rates = interval.rates("losswire_evaluation_seconds_count", "loss")
    rows = interval.rates("losswire_rows_total", "loss")
    buckets = interval.buckets("losswire_evaluation_seconds", "loss")
    return [
        Loss(name, rates[name,], rows.get((name,), 0.0), _latency(buckets.get(name, {})))
        for (name,), count in counts.items()
        if count
    ]


def _series(interval: Interval) -> list[Series]:
    """The series that were ever used: first series with evaluations that are left out, then the busiest."""
    weights = interval.after.sums("losswire_weight_sum_total", "series", "loss")
    weight_rates = interval.rates("losswire_weight_sum_total", "series", "loss")
    loss_rates = interval.rates("losswire_loss_sum_total", "series", "loss")
    left_out = interval.increases(UNSUMMED, "series", "loss", "reason")
    ever_left_out = interval.after.sums(UNSUMMED, "series", "loss")
    series = [
        Series(
            name,
            loss,
            weight_rates[name, loss],
            _mean(loss_rates.get((name, loss), 0.0), weight_rates[name, loss]),
            left_out={reason: count for (*key, reason), count in left_out.items() if key == [name, loss] and count},
        )
        for (name, loss), weight in weights.items()
        if weight or ever_left_out.get((name, loss))
    ]
    return sorted(series, key=lambda each: (not each.left_out, -each.weight))


def _latency(buckets: Mapping[float, float]) -> Latency:
    return Latency(histogram_quantile(0.5, buckets), histogram_quantile(0.99, buckets))


def _mean(loss: float, weight: float) -> float:
    return loss / weight if weight else math.nan
