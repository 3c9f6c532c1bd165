"""Exact sums of batches whose losses are there."""

from typing import Any

from torch import Tensor

from ce_engine._kernel_rows import RowResults
from ce_engine._reduction import Reduction
from ce_engine._result import LossResult, StackedResult
from ce_engine._sums.by_class import sums_by_class
from ce_engine._sums.exact_checks import check_columns, check_rows
from ce_engine._sums.exact_rows import ExactRows
from ce_engine._sums.exact_sum import ExactSums


def exact_sums(
    losses: Tensor,  # (R)
    reduction: Reduction,
    correct: Tensor | None = None,  # (R) bool
    changes: Tensor | None = None,  # (R)
    *,
    sketch: bool = False,
) -> ExactSums:
    """Adds up the losses and weights of a batch's rows exactly.

        >>> results = engine.submit(planned).result()  # of a `SlabBySlab`
        >>> total += exact_sums(results.losses, planned.reduction, results.correct)

    Args:
        losses: Of the rows, in float32 or float64; 0 for ignored ones.
        reduction: Of the batch.
        correct: Whether a row counts and its prediction is its target: `RowResults.correct`.
        changes: Of a divergence whose rows have labels: `RowResults.changes`.
        sketch: Whether there is a sketch of the losses: `Slab.has_sketch`.

    Raises:
        InvalidArgumentError: A tensor is of another dtype or shape.
    """
    check_rows(losses, reduction.row_weight, changes)
    return _sums(ExactRows(losses, reduction.row_weight, changes, sketch=sketch), reduction, correct)


def _sums(rows: ExactRows, reduction: Reduction, correct: Tensor | None) -> ExactSums:
    return rows.sums(0, len(rows), reduction.ignored_count, None if correct is None else _count(correct))


def exact_sums_by_class(
    losses: Tensor,  # (R)
    reduction: Reduction,
    classes: Tensor,  # (R), of an integer dtype or bool
    ignored: Tensor | None = None,  # (R) bool
    correct: Tensor | None = None,  # (R) bool
    changes: Tensor | None = None,  # (R)
    *,
    sketch: bool = False,
) -> dict[int, ExactSums]:
    """`exact_sums` over the rows of each class: of those that rows have which count, in ascending order.

    Args:
        losses: Of the rows.
        reduction: Of the batch.
        classes: Of the rows, as `Slab.row_classes` tells; of ignored ones, any.
        ignored: Which rows are ignored: `Slab.rows.ignored`.
        correct: As for `exact_sums`.
        changes: As for `exact_sums`.
        sketch: As for `exact_sums`.

    Raises:
        InvalidArgumentError: A class is negative, or a tensor is of another dtype or shape.
    """
    check_rows(losses, reduction.row_weight, changes)
    check_columns(losses, classes, ignored, correct)
    rows = ExactRows(losses, reduction.row_weight, changes, sketch=sketch)
    return sums_by_class(rows, classes, ignored, correct)


def add_exact(
    result: LossResult | StackedResult,
    reduction: Reduction,  # of all rows, as the next two
    results: RowResults,
    ignored: Tensor | None,
    classes: Tensor | None,
    *,
    sketch: bool,
) -> None:
    """Adds exact sums to a result; by class too if classes are given."""
    columns, correct = (results.losses, reduction.row_weight, results.changes), results.correct
    if isinstance(result, LossResult):
        rows = ExactRows(*columns, sketch=sketch)
        result.exact = _sums(rows, reduction, correct)
        if classes is not None:
            result.exact_by_class = sums_by_class(rows, classes, ignored, correct)
        return
    requests = [ExactRows(*of_request, sketch=sketch) for of_request in _cut(len(result), *columns)]
    flags = _cut(len(result), ignored, correct)
    result.exact = [
        rows.sums(0, len(rows), 0 if left_out is None else _count(left_out), None if found is None else _count(found))
        for rows, (left_out, found) in zip(requests, flags, strict=True)
    ]
    if classes is not None:
        of_requests = zip(requests, _cut(len(result), classes, ignored, correct), strict=True)
        result.exact_by_class = [sums_by_class(rows, *of_rows) for rows, of_rows in of_requests]


def _cut(count: int, *columns: Tensor | None) -> list[tuple[Any, ...]]:
    """Columns of all requests' rows, cut into those of each."""
    parts = [
        [None] * count if column is None else column.view(count, column.numel() // count).unbind() for column in columns
    ]
    return list(zip(*parts, strict=True))


def _count(flags: Tensor) -> int:
    return int(flags.count_nonzero())
