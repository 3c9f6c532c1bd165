"""Numbers that follow from exact sums."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from losswire import v1
from losswire.exact_sum import UNITS_IN_ONE, ExactSum, quotient

ROOT_BITS = 64  # more than a double has, so that rounding them rounds the root


@dataclass(frozen=True, slots=True)
class Statistics:
    """Numbers that follow from exact sums, each rounded once.

    Attributes:
        mean: The sum of the losses divided by `weight_sum`: NaN if no row counts, and as in IEEE 754 if a loss is not
            finite.
        loss_sum: Of the losses.
        weight_sum: What `mean` divides by.
        standard_error: Of the mean: the root of n / (n - 1) times the sum of (loss - mean * weight)^2, divided by
            `weight_sum`, over n rows (Cochran, Sampling Techniques, 1977, 6.4: the error of a ratio). With weights of 1
            it is the sample's standard deviation divided by the root of n. NaN below 2 rows.
        perplexity: The exponential of `mean`.
        accuracy: The part of the rows whose prediction is the target; None unless predictions were asked for.
        row_count: Rows that counted.
        ignored_count: Rows that were ignored.
        nonfinite_count: Of the rows that counted, those whose loss is NaN or infinite.
    """

    mean: float
    loss_sum: float
    weight_sum: float
    standard_error: float
    perplexity: float
    accuracy: float | None
    row_count: int
    ignored_count: int
    nonfinite_count: int

    def to_message(self) -> v1.Statistics:
        return v1.Statistics(**{name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_message(cls, message: v1.Statistics) -> "Statistics":
        fields = {name: getattr(message, name) for name in cls.__slots__}
        return cls(**{**fields, "accuracy": message.accuracy if message.HasField("accuracy") else None})


class MeanChange(NamedTuple):
    """How much larger the log-probabilities of labels are in the distribution that was compared with a target's.

    Attributes:
        mean: Over all rows that counted; NaN if none did.
        standard_error: Of the mean: the sample's standard deviation divided by the root of n. NaN below 2 rows.
    """

    mean: float
    standard_error: float

    @classmethod
    def of(cls, row_count: int, change: ExactSum, change_squared: ExactSum) -> "MeanChange":
        """From the sum of the changes and that of their squares. Each number is rounded once."""
        is_finite = not (change.nonfinite_count or change_squared.nonfinite_count)
        if not (row_count and is_finite):
            return cls(float(change) if row_count else math.nan, math.nan)
        mean = quotient(change.units, row_count * UNITS_IN_ONE)
        if row_count < 2:
            return cls(mean, math.nan)
        residuals = row_count * change_squared.units * UNITS_IN_ONE - change.units**2
        return cls(mean, _root(residuals, row_count**2 * (row_count - 1) * UNITS_IN_ONE**2))


def mean_loss(row_count: int, loss: ExactSum, weight: ExactSum) -> float:
    """The sum of the losses divided by that of the weights, as `Statistics.mean` tells."""
    if not row_count:
        return math.nan
    if loss.nonfinite_count or weight.nonfinite_count:
        numerator, divisor = float(loss), float(weight)
        return numerator / divisor if divisor else numerator  # NaN or infinity, which dividing by 0 leaves
    return quotient(loss.units, weight.units)


def standard_error(
    row_count: int,
    loss: ExactSum,
    weight: ExactSum,
    loss_squared: ExactSum,
    loss_times_weight: ExactSum,
    weight_squared: ExactSum,
) -> float:
    """Of the mean loss, as `Statistics.standard_error` tells."""
    sums = (loss, weight, loss_squared, loss_times_weight, weight_squared)
    if row_count < 2 or not weight.units or any(each.nonfinite_count for each in sums):
        return math.nan
    losses, weights, squares, products, weight_squares = (each.units for each in sums)
    residuals = squares * weights**2 - 2 * losses * products * weights + losses**2 * weight_squares  # times weights^2
    return _root(row_count * residuals * UNITS_IN_ONE, (row_count - 1) * weights**4)


def exponential(x: float) -> float:
    """Infinite beyond the range of doubles."""
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _root(a: int, b: int) -> float:
    """The double nearest to the root of a / b."""
    shift = max(0, 2 * ROOT_BITS - (a.bit_length() - b.bit_length()))
    shift += shift % 2
    whole, rest = divmod(a << shift, b)
    root = math.isqrt(whole)
    is_inexact = rest or root * root != whole
    return quotient(2 * root + bool(is_inexact), 2 << shift // 2)  # the last bit stands for all that is left out
