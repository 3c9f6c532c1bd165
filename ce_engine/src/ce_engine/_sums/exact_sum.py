"""Exact sums: integers, in units in which every double and every product of two doubles is whole."""

import math
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from ce_engine._sums.sketch import Sketch


class _Addable(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


A = TypeVar("A", bound=_Addable)

UNIT_EXPONENT = -2176  # the first multiple of 32 below -2148, which is twice the exponent of the least double
UNITS_IN_ONE = 1 << -UNIT_EXPONENT


@dataclass(frozen=True, slots=True)
class ExactSum:
    """The exact sum of any doubles, or of products of two of them.

    Sums add up in any order and grouping to the same sum. ``float`` rounds one, once, to the nearest double, and gives
    NaN or infinity if such numbers are among the summands.

    Attributes:
        units: The sum of the finite numbers, in units of 2^-2176.
        nan_count: Numbers that are NaN.
        positive_infinity_count: Numbers that are infinite, and positive.
        negative_infinity_count: Numbers that are infinite, and negative.
    """

    units: int = 0
    nan_count: int = 0
    positive_infinity_count: int = 0
    negative_infinity_count: int = 0

    def __add__(self, other: "ExactSum") -> "ExactSum":
        if not isinstance(other, ExactSum):
            return NotImplemented
        return ExactSum(
            self.units + other.units,
            self.nan_count + other.nan_count,
            self.positive_infinity_count + other.positive_infinity_count,
            self.negative_infinity_count + other.negative_infinity_count,
        )

    def __repr__(self) -> str:
        """The sum as a number, since its units have hundreds of digits."""
        finite = float(ExactSum(self.units))
        others = {"nan": self.nan_count, "inf": self.positive_infinity_count, "-inf": self.negative_infinity_count}
        told = "".join(f" + {count} x {name}" for name, count in others.items() if count)
        return f"<ExactSum {finite!r}{told}>"

    def __float__(self) -> float:
        if self.nan_count or (self.positive_infinity_count and self.negative_infinity_count):
            return math.nan
        if self.positive_infinity_count or self.negative_infinity_count:
            return math.inf if self.positive_infinity_count else -math.inf
        try:
            return self.units / UNITS_IN_ONE
        except OverflowError:
            return math.inf if self.units > 0 else -math.inf


@dataclass(frozen=True, slots=True)
class ExactSums:
    """Exact sums over the rows of any number of batches. They merge in any order and grouping to the same sums.

        >>> total = first.exact + second.exact
        >>> mean = Fraction(total.loss.units, total.weight.units)

    Attributes:
        loss: Of the losses of the rows that counted.
        weight: What ``mean`` divides by.
        loss_squared: Of the squares of the losses.
        loss_times_weight: Of the products of loss and weight.
        weight_squared: Of the squares of the weights.
        row_count: Rows that counted.
        ignored_count: Rows that were ignored.
        correct_count: Rows whose prediction is the target; None unless predictions were asked for, for all of them.
        change: Of a divergence, of the changes of labels' log-probabilities; None unless all rows have labels.
        change_squared: Of the squares of these.
        sketch: Of a divergence's losses.
    """

    loss: ExactSum
    weight: ExactSum
    loss_squared: ExactSum
    loss_times_weight: ExactSum
    weight_squared: ExactSum
    row_count: int
    ignored_count: int
    correct_count: int | None
    change: ExactSum | None = None
    change_squared: ExactSum | None = None
    sketch: Sketch | None = None

    def __add__(self, other: "ExactSums") -> "ExactSums":
        if not isinstance(other, ExactSums):
            return NotImplemented
        correct = None
        if self.correct_count is not None and other.correct_count is not None:
            correct = self.correct_count + other.correct_count
        return ExactSums(
            loss=self.loss + other.loss,
            weight=self.weight + other.weight,
            loss_squared=self.loss_squared + other.loss_squared,
            loss_times_weight=self.loss_times_weight + other.loss_times_weight,
            weight_squared=self.weight_squared + other.weight_squared,
            row_count=self.row_count + other.row_count,
            ignored_count=self.ignored_count + other.ignored_count,
            correct_count=correct,
            change=self._added(other, self.change, other.change),
            change_squared=self._added(other, self.change_squared, other.change_squared),
            sketch=self._added(other, self.sketch, other.sketch),
        )

    def _added(self, other: "ExactSums", a: A | None, b: A | None) -> A | None:
        """What both parts have. A part without rows may lack it."""
        if a is None or b is None:
            only, rows = (b, self.row_count) if a is None else (a, other.row_count)
            return None if rows else only
        return a + b
