"""The numbers of divergences, which follow from exact sums."""

import math
from typing import Any

from losswire.exact_sum import quotient
from losswire.exact_sums import ExactSums
from losswire.statistics import exponential

QUANTILES = {"median": 0.5, "quantile_0.9": 0.9, "quantile_0.95": 0.95, "quantile_0.99": 0.99, "quantile_0.999": 0.999}


def of_sums(sums: ExactSums) -> dict[str, Any]:
    """What follows from the sums alone, as of a run. Quantiles and this maximum are within 1 %."""
    statistics = sums.statistics
    return {
        "mean": statistics.mean,
        "standard_error": statistics.standard_error,
        **{name: _quantile(sums, part) for name, part in QUANTILES.items()},
        "maximum": _quantile(sums, 1.0),
        **_of_changes(sums),
        **_of_predictions(sums),
        "row_count": statistics.row_count,
        "ignored_count": statistics.ignored_count,
        "nonfinite_count": statistics.nonfinite_count,
    }


def _quantile(sums: ExactSums, part: float) -> float:
    """A quantile of the rows, NaN if there are none."""
    found = sums.quantile(part)
    return math.nan if found is None else found


def _of_changes(sums: ExactSums) -> dict[str, Any]:
    """The change of the labels' log-probabilities, and what becomes of perplexity by it."""
    change = sums.mean_change
    if change is None:
        return {}
    ratio = exponential(-change.mean)
    return {
        "perplexity_ratio": ratio,
        "perplexity_ratio_standard_error": ratio * change.standard_error,
        "change": change.mean,
        "change_standard_error": change.standard_error,
    }


def _of_predictions(sums: ExactSums) -> dict[str, Any]:
    """The share of rows in which both give the most to the same class, with its standard error."""
    if sums.correct_count is None:
        return {}
    rows = sums.row_count
    share = quotient(sums.correct_count, rows)
    return {
        "same_top": share,
        "same_top_standard_error": math.sqrt(share * (1 - share) / (rows - 1)) if rows > 1 else math.nan,
        "same_top_count": sums.correct_count,
    }
