from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ce_engine._sums.exact_sum import ExactSums


@dataclass(eq=False, slots=True)
class Tally:
    """What the losses of rows are like. Ignored rows are not in it.

    Attributes:
        counts: int64, one for each bound: how many rows have a finite loss of at most that much.
        row_count: Rows whose losses are finite.
        nonfinite_count: Rows whose losses are NaN or infinite.
        loss_sum: Of the rows whose losses are finite.
        weight_sum: Of the same rows.
    """

    counts: Tensor
    row_count: int
    nonfinite_count: int
    loss_sum: float
    weight_sum: float

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.counts + other.counts,
            self.row_count + other.row_count,
            self.nonfinite_count + other.nonfinite_count,
            self.loss_sum + other.loss_sum,
            self.weight_sum + other.weight_sum,
        )


@dataclass(eq=False)
class LossResult:
    """A loss, the sums behind it and, if asked for, the gradient and other outputs of the same pass.

    Results merge exactly: the mean over several batches is the sum of their ``loss_sum`` divided by the sum of their
    ``weight_sum``.

    Tensors have the input's shape or the shape of rows. The shape of rows is the shape of index targets: the input's
    without C. The rows of the binary losses are elements, so their shape is the input's. Floating outputs are float64
    for float64 input, else float32.

    Attributes:
        loss: Of the shape of rows for reduction ``none``, else a scalar.
        loss_sum: Sum of the rows' losses, added in float64 and in row order, whatever the reduction.
        weight_sum: What ``mean`` divides by: the sum of the target classes' weights over the rows that count; for
            probability targets the number of rows, for the binary losses the number of elements.
        row_count: Rows that counted.
        ignored_count: Rows that were ignored because of ``ignore_index``.
        grad: Gradient of the loss with respect to the input, of its shape, and of its dtype unless another was wanted.
        lse: Logarithm of the sum of the exponentials of a row's input, of the shape of rows.
        entropy: Entropy of a row's distribution in nats, of the shape of rows: of the softmax of the input; for the
            binary losses of the Bernoulli distribution of the element.
        probabilities: Softmax or sigmoid of logits, exponential of log-probabilities; of the input's shape.
        log_probabilities: Logarithms of the probabilities, of the input's shape; clamped at -100 for probability input.
        predictions: int64, of the shape of rows: the class with the largest input, the first one in a tie; for the
            binary losses 1 where the probability is above one half.
        target_log_probabilities: Log-probability of the target's class, of the shape of rows; 0 for ignored rows.
        target_ranks: int64, of the shape of rows: the place of the target among the classes in descending order of the
            input, 1 for the prediction. Of equal inputs the first class comes first. 0 for ignored rows.
        top_log_probabilities: With ``top_k`` the largest log-probabilities of each row, in descending order; of the
            shape of rows and then k.
        top_classes: int64, of the same shape: their classes. Of equal inputs the first class comes first.
        z_loss_sum: With ``z_loss`` the part of `loss_sum` that it adds.
        changes: Of a divergence whose rows have labels: the label's log-probability in the input's distribution less
            that in the target's, of the shape of rows; 0 for ignored rows, and where both are -infinity.
        correct_count: With ``predictions``, the number of rows that counted and whose prediction is the target. For a
            probability target this is the class of its largest probability, for a binary target whether it is above
            one half; for a divergence the most probable class of the target's distribution.
        tally: Of the rows' losses, if the slab's `tally_bounds` asked for it.
        exact: Exact sums of the rows' losses and weights, if the slab's `exact` asked for them.
        exact_by_class: Those over the rows of each class, by ascending class, if it asked for ``by_class``: of classes
            that rows which count have.
    """

    loss: Tensor
    loss_sum: float
    weight_sum: float
    row_count: int
    ignored_count: int
    grad: Tensor | None = None
    lse: Tensor | None = None
    entropy: Tensor | None = None
    probabilities: Tensor | None = None
    log_probabilities: Tensor | None = None
    predictions: Tensor | None = None
    target_log_probabilities: Tensor | None = None
    target_ranks: Tensor | None = None
    top_log_probabilities: Tensor | None = None
    top_classes: Tensor | None = None
    z_loss_sum: float | None = None
    changes: Tensor | None = None
    correct_count: int | None = None
    tally: Tally | None = None
    exact: ExactSums | None = None
    exact_by_class: dict[int, ExactSums] | None = None


@dataclass(eq=False)
class StackedResult:
    """The results of G requests, named as in `LossResult`: a list for each number, and (G, ...) for each tensor.

    Attributes:
        tally: Of all requests together.
        tally_of: Gives the tally of some of them, by their numbers; None without `tally`.
    """

    loss: Tensor
    loss_sum: list[float]
    weight_sum: list[float]
    row_count: list[int]
    ignored_count: list[int]
    grad: Tensor | None = None
    lse: Tensor | None = None
    entropy: Tensor | None = None
    probabilities: Tensor | None = None
    log_probabilities: Tensor | None = None
    predictions: Tensor | None = None
    target_log_probabilities: Tensor | None = None
    target_ranks: Tensor | None = None
    top_log_probabilities: Tensor | None = None
    top_classes: Tensor | None = None
    z_loss_sum: list[float] | None = None
    changes: Tensor | None = None
    correct_count: list[int] | None = None
    tally: Tally | None = None
    exact: list[ExactSums] | None = None
    exact_by_class: list[dict[int, ExactSums]] | None = None
    tally_of: Callable[[Sequence[int]], Tally] | None = None

    def __len__(self) -> int:
        return len(self.loss_sum)

    def __getitem__(self, number: int) -> LossResult:
        """The result of one request, whose tensors are views."""
        fields = {name: x for name, x in vars(self).items() if name not in ("tally", "tally_of")}
        own: dict[str, Any] = {name: None if x is None else x[number] for name, x in fields.items()}
        return LossResult(**own)
