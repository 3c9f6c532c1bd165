"""Metrics of the losses served, by Prometheus's rules: base units, labels from closed sets."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from losswire import v1
from losswire.losses import LOSSES
from losswire_server.metrics.exact import ExactCounter
from losswire_server.metrics.series import DEFAULT_SERIES, OTHER_SERIES

SECONDS = (
    *(1e-5, 2e-5, 5e-5),  # for requests that were evaluated together: each gets a share of the time
    *(0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)

REASONS = ("nonfinite", "negative", "immense")  # why an evaluation is in no sum

# The last digit of a double of 2^40 is 2^-12: after the largest evaluation that is summed, a counter that had nothing
# before still shows losses of 0.0003. No model that works comes near: 2^40 rows of loss 1 are more than any batch.
# The bound is for one evaluation. A counter that has become larger by many of them still counts small losses, which
# `ExactCounter` keeps until they change its last digit: the difference of two scrapes is wrong by one such digit, 2^-52
# of the counter, at most.
MAX_SUM = 2.0**40
EXACT = "Added up exactly; shown as the nearest double. Evaluations with more than 2^40 are left out."

log = logging.getLogger(__name__)


class _Counts(NamedTuple):
    """The counters of one loss."""

    seconds: Histogram
    rows: Counter
    ignored_rows: Counter


class _Sums(NamedTuple):
    """The sums of one loss in one series.

    Attributes:
        unsummed: How many evaluations were left out of the sums, by reason.
    """

    loss: ExactCounter
    weight: ExactCounter
    unsummed: dict[str, Counter]


class LossMetrics:
    """Adds up the losses and weights of evaluations. Use it in the event loop.

    Readers compute means over any set of replicas and any time: ``sum by (series, loss)
    (rate(losswire_loss_sum_total[5m])) / sum by (series, loss) (rate(losswire_weight_sum_total[5m]))``. A gauge of
    means would average averages.

    Attributes:
        began: When the first evaluation of a loss in a series was counted, in seconds of the clock.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        max_series: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.began: dict[tuple[str, str], float] = {}
        self._clock = clock
        self._series: set[str] = {DEFAULT_SERIES, OTHER_SERIES}
        self._max_series = max_series + len(self._series)

        def counter(name: str, help: str, *labels: str) -> Counter:
            return Counter(name, help, labels, registry=registry)

        self._loss_sum = counter("losswire_loss_sum", f"Sum of the losses of rows. {EXACT}", "series", "loss")
        self._weight_sum = counter("losswire_weight_sum", f"Sum of what `mean` divides by. {EXACT}", "series", "loss")
        self._unsummed = counter(
            "losswire_unsummed_evaluations",
            "Evaluations left out of the sums: loss or weight is nonfinite, negative, or immense, that is above 2^40.",
            *("series", "loss", "reason"),
        )
        rows = counter("losswire_rows", "Rows that counted.", "loss")
        ignored_rows = counter("losswire_ignored_rows", "Rows ignored because of ignore_index.", "loss")
        seconds = Histogram(
            "losswire_evaluation_seconds",
            "Time from a request's bytes to its answer's, without waiting; equal shares if evaluated together.",
            ["loss"],
            buckets=SECONDS,
            registry=registry,
        )
        # A counter that Prometheus first sees above zero loses its first increase in every rate().
        self._counts = {
            loss: _Counts(seconds.labels(loss), rows.labels(loss), ignored_rows.labels(loss)) for loss in LOSSES
        }
        self._sums = {(DEFAULT_SERIES, loss): self._new_sums(DEFAULT_SERIES, loss) for loss in LOSSES}

    def count(self, loss: str, series: str, responses: Sequence[v1.EvaluateResponse], seconds: float) -> None:
        """Counts evaluations of one loss in one series that took so many seconds together. Each gets an equal share.

        So the histogram's count is the number of evaluations, and its sum is the time that they took.
        """
        counts = self._counts[loss]
        for _ in responses:
            counts.seconds.observe(seconds / len(responses))
        counts.rows.inc(sum(response.row_count for response in responses))
        counts.ignored_rows.inc(sum(response.ignored_count for response in responses))
        self._add(self._series_label(series), loss, responses)

    def _add(self, series: str, loss: str, responses: Sequence[v1.EvaluateResponse]) -> None:
        self.began.setdefault((series, loss), self._clock())  # before anything is added
        sums = self._sums.get((series, loss)) or self._sums.setdefault((series, loss), self._new_sums(series, loss))
        reasons = [_why_unsummed(response) for response in responses]
        summed = [response for response, reason in zip(responses, reasons, strict=True) if reason is None]
        sums.loss.add([response.loss_sum for response in summed])
        sums.weight.add([response.weight_sum for response in summed])
        for reason in filter(None, reasons):
            sums.unsummed[reason].inc()

    def _new_sums(self, series: str, loss: str) -> _Sums:
        unsummed = {reason: self._unsummed.labels(series, loss, reason) for reason in REASONS}
        loss_sum, weight_sum = (total.labels(series, loss) for total in (self._loss_sum, self._weight_sum))
        return _Sums(ExactCounter(loss_sum), ExactCounter(weight_sum), unsummed)

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


def _why_unsummed(response: v1.EvaluateResponse) -> str | None:
    """Which of `REASONS` keeps an evaluation out of the sums, if any."""
    loss, weight = response.loss_sum, response.weight_sum
    if 0 <= loss <= MAX_SUM and 0 <= weight <= MAX_SUM:
        return None
    if not (math.isfinite(loss) and math.isfinite(weight)):
        return "nonfinite"
    return "negative" if min(loss, weight) < 0 else "immense"
