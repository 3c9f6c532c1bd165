"""The losses served, in Prometheus's terms: base units, labels from closed sets."""

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from losswire import v1
from losswire_server.admission import Admission

LOSSES = tuple(field.name for field in v1.LossSpec.DESCRIPTOR.oneofs_by_name["loss"].fields)
DEFAULT_SERIES, OTHER_SERIES = "default", "other"
SECONDS = (
    *(1e-5, 2e-5, 5e-5),  # shares of what was evaluated together
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)

MAX_SUM = 2.0**53  # one evaluation past it, as of a run that diverged, and the sum would no longer resolve ones

log = logging.getLogger(__name__)


class _Counts(NamedTuple):
    """What is counted of one loss."""

    seconds: Histogram
    rows: Counter
    ignored_rows: Counter
    unsummed: Counter


class _Sums(NamedTuple):
    """What is added up of one loss in one series."""

    loss: Counter
    weight: Counter


class LossMetrics:
    """Adds up what evaluations answered.

    Use it for means over any set of replicas and any time, which are left to the reader's
    ``sum(rate(losswire_loss_sum_total[5m])) / sum(rate(losswire_weight_sum_total[5m]))``: a gauge of means would
    average averages.
    """

    def __init__(self, registry: CollectorRegistry, max_series: int, admission: Admission) -> None:
        self._series: set[str] = {DEFAULT_SERIES, OTHER_SERIES}
        self._max_series = max_series + len(self._series)

        def counter(name: str, help: str, *labels: str) -> Counter:
            return Counter(name, help, labels, registry=registry)

        self._loss_sum = counter("losswire_loss_sum", "Sum of the losses of rows.", "series", "loss")
        self._weight_sum = counter("losswire_weight_sum", "Sum of what `mean` divides by.", "series", "loss")
        unsummed = counter(
            "losswire_unsummed_evaluations",
            "Evaluations left out of the sums, which cannot hold NaN, negative or immense losses.",
            "loss",
        )
        rows = counter("losswire_rows", "Rows that counted.", "loss")
        ignored_rows = counter("losswire_ignored_rows", "Rows ignored because of ignore_index.", "loss")
        seconds = Histogram(
            "losswire_evaluation_seconds",
            "Time from the request's bytes to the answer's, without waiting; of several together an equal share.",
            ["loss"],
            buckets=SECONDS,
            registry=registry,
        )
        inflight = Gauge("losswire_inflight_bytes", "Requests being evaluated or waiting.", registry=registry)
        inflight.set_function(lambda: admission.inflight_bytes)
        # A counter that is first seen above zero has lost its first increase for every rate().
        self._counts = {
            loss: _Counts(seconds.labels(loss), rows.labels(loss), ignored_rows.labels(loss), unsummed.labels(loss))
            for loss in LOSSES
        }
        self._sums = {(DEFAULT_SERIES, loss): self._new_sums(DEFAULT_SERIES, loss) for loss in LOSSES}

    def count(self, request: v1.EvaluateRequest, response: v1.EvaluateResponse, seconds: float) -> None:
        """Counts an evaluation that took so many seconds."""
        self.count_alike(request, [response], seconds)

    def count_alike(
        self, request: v1.EvaluateRequest, responses: Sequence[v1.EvaluateResponse], seconds: float
    ) -> None:
        """Counts evaluations of one loss in one series that took so many seconds together, each an equal share.

        So the histogram's count is how many there were, and its sum is the time that went into them.
        """
        loss = request.spec.WhichOneof("loss") or ""
        counts = self._counts[loss]
        for _ in responses:
            counts.seconds.observe(seconds / len(responses))
        counts.rows.inc(sum(response.row_count for response in responses))
        counts.ignored_rows.inc(sum(response.ignored_count for response in responses))
        summed = [response for response in responses if _can_be_summed(response)]
        counts.unsummed.inc(len(responses) - len(summed))
        if summed:
            self._add(self._series_label(request.series), loss, summed)

    def _add(self, series: str, loss: str, responses: Sequence[v1.EvaluateResponse]) -> None:
        sums = self._sums.get((series, loss)) or self._sums.setdefault((series, loss), self._new_sums(series, loss))
        sums.loss.inc(math.fsum(response.loss_sum for response in responses))
        sums.weight.inc(math.fsum(response.weight_sum for response in responses))

    def _new_sums(self, series: str, loss: str) -> _Sums:
        return _Sums(self._loss_sum.labels(series, loss), self._weight_sum.labels(series, loss))

    def _series_label(self, name: str) -> str:
        if name in self._series:
            return name
        if not name:
            return DEFAULT_SERIES
        if len(self._series) == self._max_series:
            return OTHER_SERIES
        self._series.add(name)
        if len(self._series) == self._max_series:
            log.warning("series limit reached: new names are added up as other", extra={"series": name})
        return name


def _can_be_summed(response: v1.EvaluateResponse) -> bool:
    return 0 <= response.loss_sum <= MAX_SUM and 0 <= response.weight_sum <= MAX_SUM  # which NaN is not
