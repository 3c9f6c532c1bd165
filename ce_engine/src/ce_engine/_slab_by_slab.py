"""Requests that are evaluated slab by slab. Results have the bits that one slab of all rows would give."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ce_engine._batching.launchers import launch
from ce_engine._errors import InvalidArgumentError
from ce_engine._plans.binary import binary_counts
from ce_engine._plans.index_target import IndexTarget, weights_from_counts
from ce_engine._reduction import Reduction
from ce_engine._row_sums import RowOrderSum
from ce_engine._slab import RowResults, Slab

PART_ROWS = 2**18  # rows of a target that are widened at a time


@dataclass(frozen=True, eq=False)
class TargetSums:
    """Sums of all targets, which a row's result may depend on.

    Attributes:
        class_weight: (C) float64, computed from the targets or as given; None for ones.
        weight_sum: What ``mean`` divides by.
    """

    class_weight: Tensor | None
    weight_sum: float

    @classmethod
    def of_classes(
        cls,
        target: Tensor,  # any shape, of an integer dtype
        class_count: int,
        ignore_index: int = -100,
        weight: Tensor | str | None = None,  # (C)
    ) -> "TargetSums":
        """The sums of all class indices of a batch.

        Raises:
            InvalidArgumentError: A target is no class.
        """
        parts = torch.split(target.reshape(-1), PART_ROWS)
        if isinstance(weight, str):
            counts = sum(_of(part, i, class_count, ignore_index).counts() for i, part in enumerate(parts))
            weight = weights_from_counts(torch.as_tensor(counts), weight)
        weight_sum = RowOrderSum()
        for i, part in enumerate(parts):
            checked = _of(part, i, class_count, ignore_index)
            weight_sum.add_weights(checked.row_weight(weight)[0], len(part), checked.ignored_count)
        return cls(weight, weight_sum.total())

    @classmethod
    def of_elements(
        cls,
        target: Tensor,  # any shape
        weighting: str,
    ) -> "TargetSums":
        """The sums of all targets of a batch, for a binary loss that weighs classes as ``weighting`` says.

        Raises:
            InvalidArgumentError: A target is neither 0 nor 1.
        """
        counts = torch.zeros(2, dtype=torch.int64)
        for i, part in enumerate(torch.split(target.reshape(-1), PART_ROWS)):
            try:
                counts += binary_counts(part, weighting)
            except InvalidArgumentError as error:
                raise error.further_on(i * PART_ROWS) from error
        return cls(weights_from_counts(counts, weighting), float(target.numel()))


def _of(part: Tensor, i: int, class_count: int, ignore_index: int) -> IndexTarget:
    try:
        return IndexTarget.of(part, class_count, ignore_index)
    except InvalidArgumentError as error:
        raise error.further_on(i * PART_ROWS) from error


class PlannedSlabBySlab:
    """Evaluates a batch slab by slab, in row order. It is planned as a whole: only its input comes later.

    Args:
        slab: The batch, for a loss with class indices. Only the dtype and shape of its input count.
    """

    def __init__(self, slab: Slab) -> None:
        self._slab = slab
        self._loss_sum = RowOrderSum()
        self._rows = 0
        self.weight_sum = slab.reduction.weight_sum
        self.row_count = slab.reduction.row_count
        self.ignored_count = slab.reduction.ignored_count
        self.correct_count = 0

    def evaluate(
        self,
        input: Tensor,  # (n, C, d1, ..., dk)
    ) -> RowResults:
        """Evaluates the next rows."""
        whole, count = self._slab, input.numel() // self._slab.kind.class_count
        rows = whole.rows.part(slice(self._rows, self._rows + count))
        reduction = whole.reduction._replace(shape=torch.Size((count,)))
        results = launch(Slab(whole.kind, input, None, rows, reduction))
        self._rows += count
        self._loss_sum.add(results.losses)
        if results.correct is not None:
            self.correct_count += int(results.correct.count_nonzero())
        return results

    @property
    def loss_sum(self) -> float:
        return self._loss_sum.total()

    def loss(self) -> float:
        """The loss of the batch, reduced by ``mean`` or ``sum``."""
        return self._slab.reduction.reduced(self.loss_sum)


class SlabBySlab:
    """Evaluates a batch slab by slab, in row order, and adds up its losses. Each slab is planned by itself.

    Args:
        plan: The loss: one of the functions in ``ce_engine.slabs``.
        reduction: Of the batch.
        empty: What ``mean`` is when nothing counts.
        grad_output: The incoming gradient of a reduced loss, a scalar; one if None.
        weight_sum: What ``mean`` divides by; needed for its gradient alone.
        options: Other arguments of the loss, except arguments with a number a row.
    """

    def __init__(
        self,
        plan: Callable[..., Slab],
        *,
        reduction: str,
        empty: str = "nan",
        grad_output: Tensor | None = None,
        weight_sum: float | None = None,
        **options: Any,
    ) -> None:
        self._plan = plan
        self._reduction, self._empty = reduction, empty
        self._options = {**options, "reduction": "none"}
        self._scale: Tensor | None = None
        if options.get("grad") and reduction != "none":
            one = torch.ones((), dtype=torch.float64) if grad_output is None else grad_output.to(torch.float64)
            self._scale = one / (weight_sum if weight_sum is not None and reduction == "mean" else 1.0)
        self._loss_sum, self._weight_sum = RowOrderSum(), RowOrderSum()
        self._rows = 0
        self.ignored_count = 0
        self.correct_count = 0

    def evaluate(self, input: Tensor, target: Tensor, **by_rows: Tensor) -> RowResults:
        """Evaluates the next rows. Tensors with a number a row are the slab's own parts.

        Raises:
            InvalidArgumentError: An argument is wrong; rows are numbered from the start of the batch.
        """
        try:
            slab = self._plan(input, target, **self._options, **by_rows)
        except InvalidArgumentError as error:
            raise error.further_on(self._rows) from error
        if self._scale is not None:
            scale = self._scale.to(slab.kind.compute_dtype).expand(slab.row_count)
            slab = replace(slab, rows=slab.rows._replace(scale=scale))
        results = launch(slab)
        self._add(slab, results)
        return results

    def _add(self, slab: Slab, results: RowResults) -> None:
        reduction = slab.reduction
        self._loss_sum.add(results.losses)
        self._weight_sum.add_weights(reduction.row_weight, slab.row_count, reduction.ignored_count)
        self._rows += slab.row_count
        self.ignored_count += reduction.ignored_count
        if results.correct is not None:
            self.correct_count += int(results.correct.count_nonzero())

    @property
    def loss_sum(self) -> float:
        return self._loss_sum.total()

    @property
    def weight_sum(self) -> float:
        return self._weight_sum.total()

    @property
    def row_count(self) -> int:
        """Rows that counted."""
        return self._rows - self.ignored_count

    def loss(self) -> float:
        """The loss of the batch, reduced by ``mean`` or ``sum``."""
        rows = torch.Size((self._rows,))
        reduction = Reduction(self._reduction, self._empty, rows, self.weight_sum, self.ignored_count)
        return reduction.reduced(self.loss_sum)
