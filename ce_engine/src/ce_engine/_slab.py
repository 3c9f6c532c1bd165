"""The slab: checked whole rows of one request, with all that is needed to evaluate them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ce_engine._divergences.named import most_probable_named
from ce_engine._errors import InvalidArgumentError
from ce_engine._kernel_rows import ELEMENTWISE, Kind, RowResults, Rows, present
from ce_engine._plans.validation import dtype_name
from ce_engine._reduction import Reduction
from ce_engine._result import LossResult, StackedResult
from ce_engine._rows import largest_classes, positive_rows
from ce_engine._sums.exact import add_exact
from ce_engine._sums.row_order import row_order_sum
from ce_engine._sums.tallies import tally, tally_of_some

OF_ROWS = (  # results that are named alike in `RowResults` and `LossResult`, (R) or (R, k)
    "lse",
    "entropy",
    "predictions",
    "target_log_probabilities",
    "target_ranks",
    "top_log_probabilities",
    "top_classes",
    "changes",
)


@dataclass(eq=False)
class Form:
    """What slabs of calls of the same form have in common: rows of all of them count, and have no weights.

    Attributes:
        kind: Of all slabs.
        reduction: Of all slabs.
        scale: (R), a view of one number; None without gradients.
        has_classes: Whether targets are classes, and not of the input's shape.
        is_plain: Whether they are also of (N, C) without label smoothing, and want no results but losses and gradients
            of the input's dtype.
        prepared: What the CPU prepares for all of them, at the first one.
    """

    kind: Kind
    reduction: Reduction
    scale: Tensor | None
    has_classes: bool
    is_plain: bool
    prepared: Any = None

    @classmethod
    def of(cls, slab: "Slab") -> "Form | None":
        """The form of a slab; None if its rows differ in more than input and target."""
        kind, rows = slab.kind, slab.rows
        weights = rows.weight, rows.pos_weight, rows.sample_weight, slab.reduction.row_weight, rows.named_classes
        has_one_scale = rows.scale is None or rows.scale.stride() == (0,)
        if not has_one_scale or any(column is not None for column in (rows.ignored, *weights)):
            return None
        has_classes = rows.classes is not None
        wants_more = kind.outputs or kind.top_k or kind.z_loss or kind.grad_dtype not in (None, kind.dtype)
        is_plain = has_classes and slab.input.dim() == 2 and 0 not in slab.input.shape and not kind.label_smoothing
        is_plain = is_plain and kind.head is None
        return cls(kind, slab.reduction, rows.scale, has_classes, is_plain and not wants_more)

    def with_rows(self, count: int) -> "Form":
        """The form of slabs that have so many rows."""
        reduction = self.reduction._replace(shape=torch.Size((count,)), weight_sum=float(count))
        scale = None if self.scale is None else self.scale[:1].expand(count)
        return replace(self, reduction=reduction, scale=scale, prepared=None)


@dataclass(eq=False)
class Slab:
    """Checked rows of one request, and how they become its result. ``ce_engine.slabs`` makes slabs.

    Attributes:
        kind: What slabs must have in common to be evaluated together.
        input: As the caller gave it; it must not change until the result is there.
        target: Of the input's shape, for probability targets and the binary losses.
        rows: Targets and factors of the rows.
        reduction: How the losses of the rows are reduced.
        grad_into: Memory for the gradient, as `with_grad_into` checks it; fresh memory if None.
        finish: Makes the result from the results of the rows; if None, `reduction` makes one of a single request.
        request_count: How many requests its rows are of.
        form: What it has in common with other slabs, if only input and classes differ. Slabs made from it have none.
        tally_bounds: If set, the result has a `Tally` of its rows' losses by these bounds.
        results_into: Gives the memory for the results of rows that are part of another slab's; fresh memory if None.
        exact: If ``sums`` or ``by_class``, the result has `ExactSums` of its rows, or those of each class too.
    """

    kind: Kind
    input: Tensor
    target: Tensor | None
    rows: Rows
    reduction: Reduction
    grad_into: Tensor | None = None
    finish: Callable[[RowResults], Any] | None = None
    request_count: int = 1
    form: "Form | None" = field(default=None, init=False)
    tally_bounds: tuple[float, ...] | None = field(default=None, init=False)
    results_into: Callable[[], RowResults] | None = field(default=None, kw_only=True)
    exact: Literal["", "sums", "by_class"] = field(default="", kw_only=True)

    def with_grad_into(self, memory: Tensor) -> "Slab":
        """The same slab, whose gradient is written into the caller's memory, and comes back as that tensor.

        Args:
            memory: Contiguous, of the input's shape and the gradient's dtype; it must not overlap memory that the slab
                is read from. Before the result is there, or after an error, its content means nothing.

        Raises:
            InvalidArgumentError: No gradient was asked for, or it cannot be written there.
        """
        _check_grad_into(memory, self)
        return replace(self, grad_into=memory)

    @property
    def row_count(self) -> int:
        """Rows, ignored ones included."""
        return self.reduction.shape.numel()

    @property
    def nbytes(self) -> int:
        """Bytes of the input."""
        return self.input.nbytes

    @property
    def has_sketch(self) -> bool:
        """Whether its exact sums have a `Sketch` of the losses."""
        return self.kind.divergence is not None

    @property
    def row_classes(self) -> Callable[[], Tensor]:
        """Finds the classes of the rows, (R) int64 or bool: for `exact_sums_by_class`. It does not hold the input.

        A probability target has the class with the largest probability, the first one in a tie, like a divergence's
        target without labels; a binary target whether it is above one half; an ignored row any class.
        """
        return partial(_classes_of, self.kind, self.rows.classes, self.target, self.rows.named_classes)

    def result(self, results: RowResults) -> Any:
        """Reduces the results of the rows: to a `LossResult`, unless `finish` makes something else."""
        result = self._loss_result(results) if self.finish is None else self.finish(results)
        if self.tally_bounds is not None:
            self._add_tally(result, results.losses, self.tally_bounds)
        if self.exact:
            classes = self.row_classes() if self.exact == "by_class" else None
            add_exact(result, self.reduction, results, self.rows.ignored, classes, sketch=self.has_sketch)
        return result

    def _add_tally(self, result: Any, losses: Tensor, bounds: tuple[float, ...]) -> None:
        known = result.loss_sum if self.finish is None else None
        result.tally = tally(losses, self.reduction, bounds, known)
        if isinstance(result, StackedResult):
            ignored, count = self.rows.ignored, len(result)
            result.tally_of = partial(tally_of_some, losses, ignored, self.reduction, bounds, count)

    def _loss_result(self, results: RowResults) -> LossResult:
        grad = results.grad
        if self.grad_into is not None and grad is not None and grad is not self.grad_into:
            grad = self.grad_into.copy_(grad)  # merged launches and GPUs write it elsewhere
        result = self.reduction.result(results.losses, grad)
        if self.kind.outputs or self.kind.top_k or self.kind.z_loss or self.kind.has_changes:
            self._add_outputs(result, results)
        return result

    def _add_outputs(self, result: LossResult, results: RowResults) -> None:
        result.probabilities, result.log_probabilities = results.probabilities, results.log_probabilities
        for name in OF_ROWS:
            numbers = getattr(results, name)
            if numbers is not None:
                setattr(result, name, numbers.reshape(self.reduction.shape + numbers.shape[1:]))
        if results.correct is not None:
            result.correct_count = int(results.correct.count_nonzero())
        if results.z_losses is not None:
            result.z_loss_sum = row_order_sum(results.z_losses)


def _classes_of(kind: Kind, classes: Tensor | None, target: Tensor | None, named: Tensor | None) -> Tensor:
    if classes is not None:
        return classes
    if kind.divergence is not None and kind.divergence.target_head is not None:
        raise InvalidArgumentError("labels", "expected them for sums by class where the target is hidden states")
    target = kind.as_rows(present(target))
    if named is not None:
        return most_probable_named(target[0].cpu(), named).clamp(min=0)
    is_wider = target.dtype.itemsize > kind.compute_dtype.itemsize
    compared_in = kind.compute_dtype if is_wider else target.dtype  # as where predictions are found correct
    return (positive_rows if kind.loss in ELEMENTWISE else largest_classes)(target, compared_in)


def _check_grad_into(memory: Tensor, slab: Slab) -> None:
    dtype, shape = slab.kind.grad_dtype, slab.input.shape
    if dtype is None:
        raise InvalidArgumentError("grad_into", "expected grad=True with it, got grad=False")
    if (memory.dtype, memory.shape) != (dtype, shape):
        came = f"{dtype_name(memory.dtype)} of shape {tuple(memory.shape)}"
        raise InvalidArgumentError("grad_into", f"expected {dtype_name(dtype)} of shape {tuple(shape)}, got {came}")
    if not memory.is_contiguous() or memory.requires_grad or memory.is_neg():
        raise InvalidArgumentError("grad_into", "expected a contiguous tensor that is no part of autograd's graph")
