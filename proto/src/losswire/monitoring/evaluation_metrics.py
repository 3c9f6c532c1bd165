"""Metrics of evaluations, and of losses by the series that callers name."""

from collections.abc import Mapping

from losswire.dtypes import FLOATING
from losswire.losses import LOSSES
from losswire.monitoring.buckets import ROW_LOSSES, SECONDS, SHARE_SECONDS
from losswire.monitoring.labels import STAGES, TRANSPORTS
from losswire.monitoring.metric import Metric, Values

_LOSS: Mapping[str, Values] = {"loss": tuple(LOSSES)}
_FORM: Mapping[str, Values] = {**_LOSS, "dtype": FLOATING, "transport": TRANSPORTS}
_SERIES: Mapping[str, Values] = {"series": None, **_LOSS}
_EXACT = "Added up exactly; shown as the nearest double."

EVALUATIONS = (
    Metric(
        "losswire_evaluations_total",
        "counter",
        "evaluations",
        "Requests evaluated. A call that is tried again counts twice.",
        _FORM,
    ),
    Metric(
        "losswire_evaluation_seconds",
        "histogram",
        "seconds",
        "Time from a request's bytes to its answer's, without waiting; equal shares if evaluated together.",
        _LOSS,
        SHARE_SECONDS,
    ),
    Metric(
        "losswire_stage_seconds",
        "histogram",
        "seconds",
        "Time that the stages of calls took: each message's receipt and reading, each slab's wait and computing. Traced"
        " calls leave exemplars.",
        {"stage": STAGES},
        SECONDS,
    ),
    Metric(
        "losswire_received_bytes_total",
        "counter",
        "bytes",
        "Bytes of requests evaluated: of their messages, and of tensors that lie in shared memory.",
        _FORM,
    ),
    Metric(
        "losswire_sent_bytes_total",
        "counter",
        "bytes",
        "Bytes of their answers: of messages, and of gradients that were written to shared memory.",
        _FORM,
    ),
)

LOSS_SUMS = (
    Metric(
        "losswire_loss_sum_total",
        "counter",
        "loss",
        f"Sum of rows' losses, of evaluations in which it is at least 0. {_EXACT}",
        _SERIES,
    ),
    Metric(
        "losswire_weight_sum_total",
        "counter",
        "weight",
        f"Sum of what the mean divides by, of evaluations in which it is at least 0. {_EXACT}",
        _SERIES,
    ),
    Metric(
        "losswire_negative_loss_sum_total",
        "counter",
        "loss",
        f"What evaluations with a negative sum of losses take away from the sum, without its sign. {_EXACT}",
        _SERIES,
    ),
    Metric(
        "losswire_negative_weight_sum_total",
        "counter",
        "weight",
        f"What evaluations with a negative sum of weights take away from the sum, without its sign. {_EXACT}",
        _SERIES,
    ),
    Metric(
        "losswire_rows_total",
        "counter",
        "rows",
        "Rows that counted: not those that ignore_index leaves out.",
        {"series": None, **_FORM},
    ),
    Metric("losswire_ignored_rows_total", "counter", "rows", "Rows ignored because of ignore_index.", _SERIES),
    Metric(
        "losswire_nonfinite_rows_total",
        "counter",
        "rows",
        "Rows whose loss is NaN or infinite. They are in no sum.",
        _SERIES,
    ),
    Metric(
        "losswire_unsummed_evaluations_total",
        "counter",
        "evaluations",
        "Evaluations left out of the sums: a sum of finite losses or weights is infinite, or above 2^40.",
        {**_SERIES, "reason": ("nonfinite", "immense")},
    ),
    Metric(
        "losswire_row_loss",
        "histogram",
        "loss",
        "Losses of rows that counted and are finite. It has no sum, which could fall; its count is the last bucket.",
        _SERIES,
        ROW_LOSSES,
    ),
    Metric("losswire_predicted_rows_total", "counter", "rows", "Rows of requests that asked for predictions.", _SERIES),
    Metric("losswire_correct_rows_total", "counter", "rows", "Of these, rows whose prediction is the target.", _SERIES),
    Metric("losswire_series", "gauge", "series", "Names of series in use, without those that callers do not choose."),
)
