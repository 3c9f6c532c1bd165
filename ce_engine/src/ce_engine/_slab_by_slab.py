"""Requests that come slab by slab. Results have the bits that one slab of all rows would give.

Slabs are planned and added up here, in row order. They may be evaluated at the same time, and in any order.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ce_engine._errors import InvalidArgumentError
from ce_engine._kernel_rows import RowResults, Rows, present
from ce_engine._plans.binary import binary_counts
from ce_engine._plans.index_target import IndexTarget, weights_from_counts
from ce_engine._plans.validation import PART_ROWS, check_divisor
from ce_engine._reduction import Reduction
from ce_engine._slab import Form, Slab
from ce_engine._sums.row_order import RowOrderSum


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
            weight = weights_from_counts(torch.as_tensor(counts, device="cpu"), weight)
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
        counts = torch.zeros(2, dtype=torch.int64, device="cpu")
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


class _SlabBySlab:
    """What both ways of planning have in common: the sums of the results, in row order.

    Attributes:
        correct_count: See `LossResult`.
    """

    def __init__(self, *, has_z_loss: bool) -> None:
        self._loss_sum = RowOrderSum()
        self._z_loss_sum = RowOrderSum() if has_z_loss else None
        self.correct_count = 0

    def add(self, reduction: Reduction, results: RowResults) -> None:  # noqa: ARG002 - a subclass reads it
        """Adds the results of a slab that has this reduction. Slabs are added in row order."""
        self._loss_sum.add(results.losses)
        if self._z_loss_sum is not None:
            self._z_loss_sum.add(present(results.z_losses))
        if results.correct is not None:
            self.correct_count += int(results.correct.count_nonzero())

    @property
    def loss_sum(self) -> float:
        return self._loss_sum.total()

    @property
    def z_loss_sum(self) -> float | None:
        """What ``z_loss`` added to `loss_sum`; None without it."""
        return None if self._z_loss_sum is None else self._z_loss_sum.total()


class PlannedSlabBySlab(_SlabBySlab):
    """A batch that is evaluated slab by slab. It is planned as a whole: only its input comes later.

        >>> batch = PlannedSlabBySlab(slab)
        >>> for part in input.split(1000):
        ...     planned = batch.plan(part)
        ...     batch.add(planned.reduction, engine.submit(planned).result())

    Args:
        slab: The batch, for a loss with class indices. Only the dtype and shape of its input count.
    """

    def __init__(self, slab: Slab) -> None:
        super().__init__(has_z_loss=slab.kind.z_loss != 0)
        self._slab = slab
        self._planned_rows = 0
        self._form = Form.of(slab)
        self.weight_sum = slab.reduction.weight_sum
        self.row_count = slab.reduction.row_count
        self.ignored_count = slab.reduction.ignored_count

    def plan(
        self,
        input: Tensor,  # (n, C, d1, ..., dk)
    ) -> Slab:
        """The slab of the next rows, whose result is `RowResults`."""
        whole, count = self._slab, input.numel() // self._slab.kind.width
        part = slice(self._planned_rows, self._planned_rows + count)
        self._planned_rows += count
        if self._form is not None:
            return self._slab_of_form(self._form, input, part)
        rows = whole.rows.part(part)
        reduction = whole.reduction.of_part(part, rows.ignored)
        return Slab(whole.kind, input, None, rows, reduction, finish=_as_they_are)

    def _slab_of_form(self, form: Form, input: Tensor, part: slice) -> Slab:
        """A slab whose rows differ in their classes alone. Most slabs have as many rows as the last one."""
        count = part.stop - part.start
        if form.reduction.shape != (count,):
            form = self._form = form.with_rows(count)
        rows = Rows(present(self._slab.rows.classes)[part], scale=form.scale)
        slab = Slab(form.kind, input, None, rows, form.reduction, finish=_as_they_are)
        slab.form = form
        return slab

    def loss(self) -> float:
        """The loss of the batch, reduced by ``mean`` or ``sum``."""
        return self._slab.reduction.reduced(self.loss_sum)


class SlabBySlab(_SlabBySlab):
    """A batch that is evaluated slab by slab. Each slab is planned by itself.

    Args:
        plan: The loss: one of the functions in ``ce_engine.slabs``.
        reduction: Of the batch.
        empty: What ``mean`` is when nothing counts.
        divisor: What ``mean`` divides by in place of ``weight_sum``; None for that.
        grad_output: The incoming gradient of a reduced loss, a scalar; one if None.
        weight_sum: What ``mean`` divides by; needed for its gradient alone, if there is no ``divisor``.
        options: Other arguments of the loss, except arguments with a number a row.
    """

    def __init__(
        self,
        plan: Callable[..., Slab],
        *,
        reduction: str,
        empty: str = "nan",
        divisor: float | None = None,
        grad_output: Tensor | None = None,
        weight_sum: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(has_z_loss=bool(options.get("z_loss")))
        self._plan = plan
        check_divisor(divisor, reduction)
        self._reduction, self._empty, self._divisor = reduction, empty, None if divisor is None else float(divisor)
        self._options = {**options, "reduction": "none"}
        self._scale: Tensor | None = None
        if options.get("grad") and reduction != "none":
            one = (
                torch.ones((), dtype=torch.float64, device="cpu")
                if grad_output is None
                else grad_output.to(torch.float64)
            )
            by = weight_sum if self._divisor is None else self._divisor
            self._scale = one / (by if by is not None and reduction == "mean" else 1.0)
        self._weight_sum = RowOrderSum()
        self._planned_rows = self._rows = 0
        self.ignored_count = 0

    def plan(self, input: Tensor, target: Tensor, **by_rows: Tensor) -> Slab:
        """The slab of the next rows, whose result is `RowResults`. Tensors with a number a row are its own parts.

        Raises:
            InvalidArgumentError: An argument is wrong; rows are numbered from the start of the batch.
        """
        try:
            slab = self._plan(input=input, target=target, **self._options, **by_rows)
        except InvalidArgumentError as error:
            raise error.further_on(self._planned_rows) from error
        self._planned_rows += slab.row_count
        rows = slab.rows
        if self._scale is not None:
            rows = rows._replace(scale=self._scale.to(slab.kind.compute_dtype).expand(slab.row_count))
        return replace(slab, rows=rows, finish=_as_they_are)

    def add(self, reduction: Reduction, results: RowResults) -> None:
        super().add(reduction, results)
        rows = reduction.shape.numel()
        self._weight_sum.add_weights(reduction.row_weight, rows, reduction.ignored_count)
        self._rows += rows
        self.ignored_count += reduction.ignored_count

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
        sums = self.weight_sum, self.ignored_count
        reduction = Reduction(self._reduction, self._empty, rows, *sums, given_divisor=self._divisor)
        return reduction.reduced(self.loss_sum)


def _as_they_are(results: RowResults) -> RowResults:
    return results
