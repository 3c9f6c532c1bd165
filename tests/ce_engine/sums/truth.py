"""Exact sums in rational numbers, row by row."""

import math
from collections.abc import Iterable
from fractions import Fraction

from ce_engine import ExactSum, ExactSums
from ce_engine._sums.exact_sum import UNITS_IN_ONE


def sum_of(pairs: Iterable[tuple[float, float]]) -> ExactSum:
    """The sum of products of two numbers."""
    units, nonfinite = Fraction(), []
    for a, b in pairs:
        if math.isfinite(a) and math.isfinite(b):
            units += Fraction(a) * Fraction(b) * UNITS_IN_ONE
        else:
            nonfinite.append(a * b)
    assert units.denominator == 1
    nans = sum(map(math.isnan, nonfinite))
    return ExactSum(units.numerator, nans, nonfinite.count(math.inf), nonfinite.count(-math.inf))


def sums_of(
    losses: list[float], weights: list[float], ignored_count: int = 0, correct_count: int | None = None
) -> ExactSums:
    """The sums over rows that count."""
    rows = list(zip(losses, weights, strict=True))
    return ExactSums(
        loss=sum_of((loss, 1.0) for loss, _ in rows),
        weight=sum_of((weight, 1.0) for _, weight in rows),
        loss_squared=sum_of((loss, loss) for loss, _ in rows),
        loss_times_weight=sum_of(rows),
        weight_squared=sum_of((weight, weight) for _, weight in rows),
        row_count=len(rows),
        ignored_count=ignored_count,
        correct_count=correct_count,
    )
