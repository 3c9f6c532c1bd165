"""The rows that a kernel evaluates: what they have in common, their targets and factors, and their results."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Size, Tensor

from ce_engine._divergences.divergence import Divergence
from ce_engine._heads.head import Head
from ce_engine._heads.logits import tile_rows
from ce_engine._memory import empty
from ce_engine._rows import Block, class_rows, element_rows, last_rows

T = TypeVar("T")

ELEMENTWISE = ("binary_cross_entropy", "binary_cross_entropy_with_logits")  # losses whose rows are single elements
CLASSES_LAST = ("linear_cross_entropy", "kl_divergence")  # losses whose rows lie along the input's last dimension


class Shared:
    """A tensor that all rows share. It equals only itself, so that comparing kinds costs nothing."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Kind(NamedTuple):
    """What rows must have in common to be evaluated together: everything except the numbers of each row.

    Attributes:
        loss: Its name.
        device: Of the input.
        dtype: Of the input.
        class_count: C; 1 for the binary losses, whose rows are elements; the head's classes if there is one.
        target_dtype: Of targets of the input's shape; None for class indices.
        label_smoothing: Share of the target that is spread evenly over all classes.
        class_weight: (C), where a row needs the weights of all classes: for label smoothing and probability targets.
        grad_dtype: Of the gradient; None if it is not wanted.
        outputs: The other outputs that are wanted.
        top_k: How many classes with the largest log-probabilities are wanted of each row.
        z_loss: Factor of the square of a row's log-sum-exp, which is added to its loss.
        head: Makes logits of the input, which is hidden states; None if the input is logits.
        divergence: Which one, for ``kl_divergence`` alone.
    """

    loss: str
    device: torch.device
    dtype: torch.dtype
    class_count: int
    target_dtype: torch.dtype | None = None
    label_smoothing: float = 0.0
    class_weight: Shared | None = None
    grad_dtype: torch.dtype | None = None
    outputs: frozenset[str] = frozenset()
    top_k: int = 0
    z_loss: float = 0.0
    head: Head | None = None
    divergence: Divergence | None = None

    @property
    def width(self) -> int:
        """Elements of a row of the input."""
        return self.class_count if self.head is None else self.head.width

    def shape_of_classes(self, shape: Size) -> Size:
        """The shape of outputs with a number for each class, for an input of this shape."""
        return shape if self.head is None else Size((*shape[:-1], self.class_count))

    def of_logits(self) -> "Kind":
        """The kind of the logits that heads make."""
        kind = self
        if self.head is not None:
            grad_dtype = None if self.grad_dtype is None else self.compute_dtype
            kind = self._replace(dtype=self.compute_dtype, head=None, grad_dtype=grad_dtype)
        if self.divergence is None:
            return kind._replace(loss="cross_entropy")
        if self.divergence.target_head is None:
            return kind
        form, dtype = self.divergence._replace(target_head=None), self.divergence.target_head.compute_dtype
        return kind._replace(divergence=form, target_dtype=dtype)

    @property
    def target_width(self) -> int:
        """Elements of a row of a target that is no class index."""
        return self.class_count if self.divergence is None else self.divergence.target_width(self.class_count)

    @property
    def heads(self) -> tuple[Head, ...]:
        """Those that make logits of the input or of the target."""
        of_target = None if self.divergence is None else self.divergence.target_head
        return tuple(head for head in (self.head, of_target) if head is not None)

    @property
    def tile_rows(self) -> int:
        """The most rows that are evaluated at a time through heads; 0 without any."""
        return min(map(tile_rows, self.heads), default=0)

    @property
    def has_changes(self) -> bool:
        """Whether labels' log-probabilities are compared."""
        return self.divergence is not None and self.divergence.has_changes

    @property
    def compute_dtype(self) -> torch.dtype:
        return torch.float64 if self.dtype is torch.float64 else torch.float32

    @property
    def as_rows(self) -> Callable[[Tensor], Tensor]:
        """Views a tensor of the input's shape as rows, (samples, positions, C)."""
        if self.loss in CLASSES_LAST:
            return last_rows
        return element_rows if self.loss in ELEMENTWISE else class_rows


class Rows(NamedTuple):
    """Targets and factors of R rows. Factors are of the dtype that is computed in; None stands for ones.

    All are contiguous, except that one scale may be expanded to all rows.

    Attributes:
        classes: (R) int64, target classes, or the labels of divergences; any valid one for ignored rows.
        ignored: (R) bool; None if no row is.
        weight: (R), factor of the loss: the weight of the target's class or of the element. It includes the sample's
            weight, except for label smoothing and probability targets.
        pos_weight: (R), of the binary losses.
        sample_weight: (R), for label smoothing and probability targets, where `weight` does not include it.
        scale: (R), further factor of the gradient: the reduction's, times the incoming gradient.
        named_classes: (R, k) int64, the classes that a divergence's target has log-probabilities of.
    """

    classes: Tensor | None = None
    ignored: Tensor | None = None
    weight: Tensor | None = None
    pos_weight: Tensor | None = None
    sample_weight: Tensor | None = None
    scale: Tensor | None = None
    named_classes: Tensor | None = None

    def over(self, temperature: float) -> "Rows":
        """With gradients of what was divided by the temperature."""
        if self.scale is None or temperature == 1:
            return self
        return self._replace(scale=(self.scale.double() / temperature).to(self.scale.dtype))

    def part(self, rows: slice) -> "Rows":
        return Rows(*(None if column is None else column[rows] for column in self))


def present(x: T | None) -> T:
    """A column that rows of this kind have."""
    if x is None:
        raise TypeError("rows lack a column that their kind needs")
    return x


class RowResults(NamedTuple):
    """The results of R rows: one number a row, or tensors of the input's shape. Each is None if it is not wanted.

    Attributes:
        losses: (R), like `lse` and `entropy`.
        predictions: (R) int64.
        correct: (R) bool: whether the row counts and its prediction is its target.
        target_log_probabilities: (R), of the target's class; 0 for ignored rows.
        target_ranks: (R) int64, from 1 on; 0 for ignored rows.
        z_losses: (R), what the square of the log-sum-exp adds to the losses.
        top_log_probabilities: (R, k), the largest first.
        top_classes: (R, k) int64, the classes of these.
        grad: Of the input's shape.
        probabilities: Of the input's shape, with the classes of a head in place of its width; like `log_probabilities`.
        changes: (R), of a divergence: the log-probability of the label in the input's distribution less that in the
            target's; 0 for ignored rows.
    """

    losses: Tensor
    lse: Tensor | None = None
    entropy: Tensor | None = None
    predictions: Tensor | None = None
    correct: Tensor | None = None
    target_log_probabilities: Tensor | None = None
    target_ranks: Tensor | None = None
    z_losses: Tensor | None = None
    top_log_probabilities: Tensor | None = None
    top_classes: Tensor | None = None
    grad: Tensor | None = None
    probabilities: Tensor | None = None
    log_probabilities: Tensor | None = None
    changes: Tensor | None = None

    @classmethod
    def allocate(cls, kind: Kind, shape: Size, row_count: int, grad: Tensor | None = None) -> "RowResults":
        """Memory to write results to; the gradient's can be given. Results of rows without elements are 0."""
        results = cls(
            losses=empty((row_count,), kind.compute_dtype, kind.device),
            grad=empty(shape, kind.grad_dtype, kind.device) if kind.grad_dtype and grad is None else grad,
            changes=empty((row_count,), kind.compute_dtype, kind.device) if kind.has_changes else None,
        )
        if kind.outputs or kind.top_k or kind.z_loss:
            results = results._with_outputs(kind, kind.shape_of_classes(shape))
        return results if 0 not in shape else results.map(Tensor.zero_, Tensor.zero_)

    def _with_outputs(self, kind: Kind, shape: Size) -> "RowResults":
        dtype, device = kind.compute_dtype, kind.device

        def numbers(name: str, dtype: torch.dtype = dtype) -> Tensor | None:
            return empty(self.losses.shape, dtype, device) if name in kind.outputs else None

        top = (*self.losses.shape, kind.top_k)
        return self._replace(
            lse=numbers("lse"),
            entropy=numbers("entropy"),
            predictions=numbers("predictions", torch.int64),
            correct=numbers("predictions", torch.bool),
            target_log_probabilities=numbers("target_log_probabilities"),
            target_ranks=numbers("target_ranks", torch.int64),
            z_losses=empty(self.losses.shape, dtype, device) if kind.z_loss else None,
            top_log_probabilities=empty(top, dtype, device) if kind.top_k else None,
            top_classes=empty(top, torch.int64, device) if kind.top_k else None,
            probabilities=empty(shape, dtype, device) if "probabilities" in kind.outputs else None,
            log_probabilities=empty(shape, dtype, device) if "log_probabilities" in kind.outputs else None,
        )

    @property
    def elements(self) -> Tensor | None:
        """One of the tensors of the input's shape."""
        if self.grad is not None:
            return self.grad
        return self.log_probabilities if self.probabilities is None else self.probabilities

    def map(self, numbers: Callable[[Tensor], Tensor], elements: Callable[[Tensor], Tensor]) -> "RowResults":
        """Applies ``numbers`` to tensors of R rows or (R, k), and ``elements`` to tensors of the input's shape."""
        return RowResults(  # written out, since each launch takes it
            numbers(self.losses),
            None if self.lse is None else numbers(self.lse),
            None if self.entropy is None else numbers(self.entropy),
            None if self.predictions is None else numbers(self.predictions),
            None if self.correct is None else numbers(self.correct),
            None if self.target_log_probabilities is None else numbers(self.target_log_probabilities),
            None if self.target_ranks is None else numbers(self.target_ranks),
            None if self.z_losses is None else numbers(self.z_losses),
            None if self.top_log_probabilities is None else numbers(self.top_log_probabilities),
            None if self.top_classes is None else numbers(self.top_classes),
            None if self.grad is None else elements(self.grad),
            None if self.probabilities is None else elements(self.probabilities),
            None if self.log_probabilities is None else elements(self.log_probabilities),
            None if self.changes is None else numbers(self.changes),
        )

    def numbers(self) -> "RowResults":
        """Without tensors of the input's shape, so that their memory can be freed."""
        return self._replace(grad=None, probabilities=None, log_probabilities=None)

    def part(self, block: Block) -> "RowResults":
        """The results of a block. Tensors of the input's shape must be viewed as rows."""
        return self.map(lambda x: x[block.rows], lambda x: x[block.samples, block.positions])
