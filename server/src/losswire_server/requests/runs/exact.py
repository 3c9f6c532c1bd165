"""The exact sums of a result, from the engine's to the contract's."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor

import ce_engine
from losswire import v1
from losswire.exact_sum import ExactSum
from losswire.exact_sums import ExactSums, merged
from losswire.sketch import Sketch

Exactness = Literal["", "sums", "by_class"]


def exactness(request: v1.EvaluateRequest) -> Exactness:
    """Which exact sums the engine is to compute for a request."""
    if request.exact.by_class:
        return "by_class"
    return "sums" if request.HasField("exact") or request.HasField("run_key") else ""


class Exact(NamedTuple):
    """The exact sums of an evaluation.

    Attributes:
        sums: Over its rows.
        by_class: Over its rows by class; None unless asked for.
    """

    sums: ExactSums
    by_class: dict[int, ExactSums] | None = None

    @classmethod
    def of(cls, result: ce_engine.LossResult) -> "Exact | None":
        """The sums of a result; None if it has none."""
        return None if result.exact is None else cls.from_engine(result.exact, result.exact_by_class)

    @classmethod
    def from_engine(cls, sums: ce_engine.ExactSums, by_class: Mapping[int, ce_engine.ExactSums] | None) -> "Exact":
        each = None if by_class is None else {number: _sums(of_class) for number, of_class in by_class.items()}
        return cls(_sums(sums), each)

    def plus(self, other: "Exact | None") -> "Exact":
        """The sums over both parts of an evaluation."""
        if other is None:
            return self
        each = None
        if self.by_class is not None and other.by_class is not None:
            each = merged(self.by_class, other.by_class)
        return Exact(self.sums + other.sums, each)

    def fill(self, response: v1.EvaluateResponse) -> None:
        """Fills an answer."""
        response.exact.CopyFrom(self.sums.to_message())
        for number, sums in (self.by_class or {}).items():
            response.exact_by_class.add(class_index=number).sums.CopyFrom(sums.to_message())


def adding(slab: ce_engine.Slab, wanted: Exactness) -> Callable[[ce_engine.RowResults], Exact]:
    """What adds up the rows of a slab whose result is `RowResults`. It does not hold the slab."""
    classes = slab.row_classes if wanted == "by_class" else None
    return partial(_added, slab.reduction, slab.rows.ignored, classes, slab.has_sketch)


def _added(
    reduction: ce_engine.Reduction,
    ignored: Tensor | None,
    classes: Callable[[], Tensor] | None,
    has_sketch: bool,
    results: ce_engine.RowResults,
) -> Exact:
    losses, correct, changes, by_class = results.losses, results.correct, results.changes, None
    if classes is not None:
        rows = classes(), ignored, correct, changes
        by_class = ce_engine.exact_sums_by_class(losses, reduction, *rows, sketch=has_sketch)
    return Exact.from_engine(ce_engine.exact_sums(losses, reduction, correct, changes, sketch=has_sketch), by_class)


def _sums(sums: ce_engine.ExactSums) -> ExactSums:
    return ExactSums(
        loss=_sum(sums.loss),
        weight=_sum(sums.weight),
        loss_squared=_sum(sums.loss_squared),
        loss_times_weight=_sum(sums.loss_times_weight),
        weight_squared=_sum(sums.weight_squared),
        row_count=sums.row_count,
        ignored_count=sums.ignored_count,
        correct_count=sums.correct_count,
        change=None if sums.change is None else _sum(sums.change),
        change_squared=None if sums.change_squared is None else _sum(sums.change_squared),
        sketch=None if sums.sketch is None else Sketch(sums.sketch.bins, sums.sketch.counts, sums.sketch.zero_count),
    )


def _sum(exact: ce_engine.ExactSum) -> ExactSum:
    counts = exact.nan_count, exact.positive_infinity_count, exact.negative_infinity_count
    return ExactSum(exact.units, *counts)
