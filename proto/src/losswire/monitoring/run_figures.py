"""Figures of runs: how far are they, and how well does their database keep up?"""

from losswire.monitoring.expressions import Latest, Quantile, Rate, Ratio, mean
from losswire.monitoring.figure import Curve, Figure, one

_ONLY = "with runs"


def _latest(name: str) -> Latest:
    """Several servers tell of one run. That one knows most of it which knows most keys."""
    return Latest(f"losswire_run_{name}", "losswire_run_keys", ("run",))


RUNS = (
    one(
        "run_progress",
        "Progress of runs",
        "ratio",
        "The part of the expected keys that count, of the latest runs that were told how many to expect.",
        Ratio(_latest("keys"), _latest("expected_keys")),
        _ONLY,
    ),
    Figure(
        "run_keys",
        "Keys of runs",
        "count",
        "Keys that count in the latest runs, and how many are expected.",
        (Curve("counted", _latest("keys")), Curve("expected", _latest("expected_keys"))),
        _ONLY,
    ),
    one("run_rows", "Rows of runs", "count", "Rows that counted in the latest runs.", _latest("rows"), _ONLY),
    one(
        "run_mean_loss",
        "Mean of runs",
        "loss",
        "Mean loss of all rows of a run so far, whatever server evaluated them.",
        _latest("mean_loss"),
        _ONLY,
    ),
    one(
        "run_nonfinite_rows",
        "Rows of runs that are not finite",
        "count",
        "Rows of a run whose loss is NaN or infinite. The mean of the run is not finite then.",
        _latest("nonfinite_rows"),
        _ONLY,
    ),
    one(
        "run_finished",
        "Finished runs",
        "count",
        "1 for a run that is finished, and 0 for one that is not.",
        _latest("finished"),
        _ONLY,
    ),
    one(
        "run_entries",
        "Keys evaluated",
        "per second",
        "Evaluations with keys, by what came of them: counted, repeated, in conflict, or refused.",
        Rate("losswire_run_entries_total", ("outcome",)),
        _ONLY,
    ),
    Figure(
        "run_commit_seconds",
        "Time of a commit",
        "seconds",
        "Time of a transaction of runs, until it is on disk: the median and the 99th percentile.",
        (
            Curve("p50", Quantile(0.5, "losswire_run_commit_seconds")),
            Curve("p99", Quantile(0.99, "losswire_run_commit_seconds")),
        ),
        _ONLY,
    ),
    one(
        "run_commit_entries",
        "Keys per commit",
        "count",
        "Mean number of evaluations that are committed together.",
        mean("losswire_run_commit_entries"),
        _ONLY,
    ),
    one(
        "run_store_failures",
        "Failures of the store of runs",
        "per second",
        "Transactions that failed, since the database could not be reached.",
        Rate("losswire_run_store_failures_total"),
        _ONLY,
    ),
)
