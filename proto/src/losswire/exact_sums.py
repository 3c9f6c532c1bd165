"""The exact sums over the rows of batches."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from losswire import v1
from losswire.exact_sum import ZERO, ExactSum, quotient
from losswire.sketch import Sketch
from losswire.statistics import MeanChange, Statistics, exponential, mean_loss, standard_error

SUMS = ("loss", "weight", "loss_squared", "loss_times_weight", "weight_squared")
TWINS = {"loss_times_weight": "loss", "weight_squared": "weight"}  # sums that are equal where all weights are 1
CHANGES = ("change", "change_squared")  # of divergences alone
OF_DIVERGENCES = (*CHANGES, "sketch")


@dataclass(frozen=True, slots=True)
class ExactSums:
    """Exact sums over the rows of any number of batches. They merge in any order and grouping to the same sums.

        >>> total = sum((result.exact for result in results), ExactSums())
        >>> total.statistics.mean

    Attributes:
        loss: Of the rows' losses.
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

    loss: ExactSum = ZERO
    weight: ExactSum = ZERO
    loss_squared: ExactSum = ZERO
    loss_times_weight: ExactSum = ZERO
    weight_squared: ExactSum = ZERO
    row_count: int = 0
    ignored_count: int = 0
    correct_count: int | None = 0
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
            **of_divergences(self, other),
        )

    @property
    def mean_change(self) -> MeanChange | None:
        """Of labels' log-probabilities; None unless all rows have labels."""
        if self.change is None or self.change_squared is None:
            return None
        return MeanChange.of(self.row_count, self.change, self.change_squared)

    def quantile(self, part: float) -> float | None:
        """The loss that a part of the rows is below: see `Sketch.quantile`. None without a sketch.

        Infinite losses are above all others. NaN if a loss is.
        """
        if self.sketch is None:
            return None
        if self.loss.nan_count:
            return math.nan
        return self.sketch.quantile(part, self.loss.positive_infinity_count)

    @property
    def statistics(self) -> Statistics:
        """What follows from the sums."""
        rows, mean = self.row_count, mean_loss(self.row_count, self.loss, self.weight)
        return Statistics(
            mean=mean,
            loss_sum=float(self.loss),
            weight_sum=float(self.weight),
            standard_error=standard_error(rows, *(getattr(self, name) for name in SUMS)),
            perplexity=exponential(mean),
            accuracy=None if self.correct_count is None else quotient(self.correct_count, rows),
            row_count=rows,
            ignored_count=self.ignored_count,
            nonfinite_count=self.loss.nonfinite_count,
        )

    def is_same(self, other: "ExactSums") -> bool:
        """Whether they are sums of the same rows, of which one may lack the count of correct predictions."""
        is_known = None not in (self.correct_count, other.correct_count)
        if is_known and self.correct_count != other.correct_count:
            return False
        return replace(self, correct_count=None) == replace(other, correct_count=None)

    @classmethod
    def from_message(cls, message: v1.ExactSums) -> "ExactSums":
        """Reads sums.

        Raises:
            FieldError: One of them is none.
        """
        sums: dict[str, ExactSum] = {}
        for name in SUMS:
            own, twin = getattr(message, name), TWINS.get(name, name)
            is_twin = twin in sums and own == getattr(message, twin)
            sums[name] = sums[twin] if is_twin else ExactSum.from_message(own)
        has_change, has_squares = message.HasField("change"), message.HasField("change_squared")
        return cls(
            **sums,
            row_count=message.row_count,
            ignored_count=message.ignored_count,
            correct_count=message.correct_count if message.HasField("correct_count") else None,
            change=ExactSum.from_message(message.change) if has_change else None,
            change_squared=ExactSum.from_message(message.change_squared) if has_squares else None,
            sketch=Sketch.from_message(message.sketch) if message.HasField("sketch") else None,
        )

    def to_message(self) -> v1.ExactSums:
        message = v1.ExactSums(
            row_count=self.row_count, ignored_count=self.ignored_count, correct_count=self.correct_count
        )
        for name in SUMS:
            exact, twin = getattr(self, name), TWINS.get(name, name)
            if twin != name and exact == getattr(self, twin):
                getattr(message, name).CopyFrom(getattr(message, twin))  # in a third of the time
            else:
                exact.fill(getattr(message, name))
        for name in CHANGES:
            change = getattr(self, name)
            if change is not None:
                change.fill(getattr(message, name))
        if self.sketch is not None:
            message.sketch.CopyFrom(self.sketch.to_message())
        return message


def by_class_from_messages(messages: Iterable[v1.ClassSums]) -> dict[int, ExactSums]:
    """The sums of each class."""
    return {message.class_index: ExactSums.from_message(message.sums) for message in messages}


def merged(a: Mapping[int, ExactSums], b: Mapping[int, ExactSums]) -> dict[int, ExactSums]:
    """The sums of each class of two parts."""
    both = {**a, **b}
    for key in a.keys() & b.keys():  # the others cost nothing: a part of many may have few classes
        both[key] = a[key] + b[key]
    return dict(sorted(both.items()))


NOTHING = ExactSums()


def of_divergences(a: ExactSums, b: ExactSums) -> dict[str, Any]:
    """What only divergences have, of two parts. A part without rows, ignored ones included, may lack it."""
    if not (_has_rows(a) and _has_rows(b)):
        return {name: getattr(a if _has_rows(a) else b, name) for name in OF_DIVERGENCES}
    pairs = ((name, getattr(a, name), getattr(b, name)) for name in OF_DIVERGENCES)
    return {name: None if x is None or y is None else x + y for name, x, y in pairs}


def _has_rows(sums: ExactSums) -> bool:
    return sums.row_count + sums.ignored_count > 0
