"""The numbers of a comparison, with the names of the SDK. They follow from exact sums."""

from typing import Any

from losswire.exact_sum import UNITS_IN_ONE, ExactSum, quotient
from losswire.statistics import exponential
from losswire_client.cli.comparison._tally import Tally
from losswire_client.cli.runs._divergences import of_sums

Facts = dict[str, Any]


def facts(tally: Tally) -> Facts:
    """All numbers of rows that were compared."""
    found = of_sums(tally.sums)
    ignored = found.pop("ignored_count") + tally.masked_count
    return {
        **found,
        "maximum": tally.maximum,
        **_perplexities(tally),
        "ignored_count": ignored,
        "first_nonfinite": [{"row": row, "divergence": divergence} for row, divergence in tally.nonfinite],
        "seconds": tally.seconds,
    }


def _perplexities(tally: Tally) -> Facts:
    """The perplexity of each model. That of the reference follows from the candidate's and the changes."""
    there = tally.log_probabilities
    if there is None:
        return {}
    candidate = {"perplexity_candidate": exponential(-_mean(there, tally.sums.row_count))}
    if tally.sums.change is None:
        return candidate
    before = there + _negative(tally.sums.change)
    return {"perplexity_reference": exponential(-_mean(before, tally.sums.row_count)), **candidate}


def _mean(total: ExactSum, rows: int) -> float:
    return total.nonfinite or quotient(total.units, rows * UNITS_IN_ONE)


def _negative(total: ExactSum) -> ExactSum:
    return ExactSum(-total.units, total.nan_count, total.negative_infinity_count, total.positive_infinity_count)
