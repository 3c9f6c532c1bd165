"""Metrics of runs: what is written of them, and how far the latest of them are."""

from collections.abc import Mapping

from losswire.monitoring.buckets import COMMIT_COUNTS, SECONDS
from losswire.monitoring.labels import RUN_OUTCOMES
from losswire.monitoring.metric import Metric, Values

RUN = "run"  # the label of gauges that tell of a run as it is on disk, whatever server added to it
_RUN: Mapping[str, Values] = {RUN: None}

RUNS = (
    Metric(
        "losswire_run_entries_total",
        "counter",
        "evaluations",
        "Evaluations with keys that came to the store of runs: counted, a repeat of the same sums, in conflict with"
        " other sums, or refused for another reason.",
        {"outcome": RUN_OUTCOMES},
    ),
    Metric(
        "losswire_run_commit_seconds",
        "histogram",
        "seconds",
        "Time of a transaction with entries of runs, until it is on disk.",
        {},
        SECONDS,
    ),
    Metric(
        "losswire_run_commit_entries",
        "histogram",
        "evaluations",
        "Evaluations that are committed to runs in one transaction.",
        {},
        COMMIT_COUNTS,
    ),
    Metric(
        "losswire_run_store_failures_total",
        "counter",
        "transactions",
        "Transactions that failed, since the database of runs could not be reached.",
    ),
    Metric("losswire_run_keys", "gauge", "keys", "Keys that count in a run, of those that were added to last.", _RUN),
    Metric(
        "losswire_run_expected_keys",
        "gauge",
        "keys",
        "Keys that a run is to have, and those of a finished one. Absent if it was created without their number, or has"
        " more.",
        _RUN,
    ),
    Metric("losswire_run_rows", "gauge", "rows", "Rows that counted in a run.", _RUN),
    Metric("losswire_run_nonfinite_rows", "gauge", "rows", "Of these, rows whose loss is NaN or infinite.", _RUN),
    Metric(
        "losswire_run_mean_loss",
        "gauge",
        "loss",
        "The mean of all of a run's rows, of whatever server, rounded once. It is no part of a larger mean.",
        _RUN,
    ),
    Metric("losswire_run_finished", "gauge", "1", "Whether a run is finished: 1 if it is, 0 if not.", _RUN),
)
