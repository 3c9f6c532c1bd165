"""The numbers of a comparison, with the names of the SDK. They follow from exact sums."""

import math
from typing import Any

from losswire.exact_sum import UNITS_IN_ONE, ExactSum, quotient
from losswire.exact_sums import ExactSums
from losswire_client.cli.comparison._tally import Tally

Facts = dict[str, Any]

QUANTILES = {"median": 0.5, "quantile_0.9": 0.9, "quantile_0.95": 0.95, "quantile_0.99": 0.99, "quantile_0.999": 0.999}


def facts(tally: Tally) -> Facts:
    """All numbers of rows that were compared."""
    found = of_sums(tally.sums)
    maximum = tally.maximum if tally.sums.row_count else math.nan
    ignored = found.pop("ignored_count") + tally.masked_count
    return {
        **found,
        "maximum": maximum,
        **_perplexities(tally),
        "ignored_count": ignored,
        "first_nonfinite": [{"row": row, "divergence": divergence} for row, divergence in tally.nonfinite],
        "seconds": tally.seconds,
    }


def of_sums(sums: ExactSums) -> Facts:
    """What follows from the sums alone, as of a run. Quantiles and this maximum are within 1 %."""
    statistics = sums.statistics
    return {
        "mean": statistics.mean,
        "standard_error": statistics.standard_error,
        **{name: sums.quantile(part) for name, part in QUANTILES.items()},
        "maximum": sums.quantile(1.0),
        **_of_changes(sums),
        **_of_predictions(sums),
        "row_count": statistics.row_count,
        "ignored_count": statistics.ignored_count,
        "nonfinite_count": statistics.nonfinite_count,
    }


def _of_changes(sums: ExactSums) -> Facts:
    """The change of the labels' log-probabilities, and what becomes of perplexity by it."""
    change = sums.mean_change
    if change is None:
        return {}
    ratio = _exponential(-change.mean)
    return {
        "perplexity_ratio": ratio,
        "perplexity_ratio_standard_error": ratio * change.standard_error,
        "change": change.mean,
        "change_standard_error": change.standard_error,
    }


def _of_predictions(sums: ExactSums) -> Facts:
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


def _perplexities(tally: Tally) -> Facts:
    """The perplexity of each model. That of the reference follows from the candidate's and the changes."""
    there = tally.log_probabilities
    if there is None:
        return {}
    candidate = {"perplexity_candidate": _exponential(-_mean(there, tally.sums.row_count))}
    if tally.sums.change is None:
        return candidate
    before = there + _negative(tally.sums.change)
    return {"perplexity_reference": _exponential(-_mean(before, tally.sums.row_count)), **candidate}


def _mean(total: ExactSum, rows: int) -> float:
    return total.nonfinite or quotient(total.units, rows * UNITS_IN_ONE)


def _negative(total: ExactSum) -> ExactSum:
    return ExactSum(-total.units, total.nan_count, total.negative_infinity_count, total.positive_infinity_count)


def _exponential(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
