from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from losswire.exact_sums import ExactSums


@dataclass(frozen=True, eq=False)
class Result:
    """A loss, the sums behind it and, if asked for, the gradient and other outputs of the same pass.

    Results merge exactly: the mean over several batches is the sum of their ``loss_sum`` divided by the sum of their
    ``weight_sum``, never the mean of their losses. With ``exact=True`` they merge to the last bit, in any order:
    ``(first.exact + second.exact).statistics.mean``.

    The shape of rows is the shape of index targets: the input's shape without C. The rows of the binary losses are
    elements, so there it is the input's shape. Floating outputs are float64 for float64 input, else float32.

    Attributes:
        loss: Of the shape of rows for reduction ``none``, else a scalar array of shape ().
        loss_sum: Sum of the rows' losses in double precision, whatever the reduction.
        weight_sum: What ``mean`` divides by.
        row_count: Rows that counted.
        ignored_count: Rows that were ignored because of ``ignore_index``.
        grad: Gradient of the loss with respect to the input, of the input's shape and dtype.
        lse: Logarithm of the sum of the exponentials of each row's input, of the shape of rows.
        entropy: Entropy of each row's distribution in nats, of the shape of rows: of the softmax of the input; for the
            binary losses of the Bernoulli distribution of the element.
        probabilities: Softmax or sigmoid of logits, exponential of log-probabilities; of the input's shape.
        log_probabilities: Logarithms of the probabilities; clamped at -100 where the input is probabilities; of the
            input's shape.
        predictions: int64, of the shape of rows: the class with the largest input, in a tie the first such class; for
            the binary losses 1 where the probability is above one half.
        target_log_probabilities: Log-probability of each row's target class, of the shape of rows; 0 for ignored rows.
        target_ranks: int64, of the shape of rows: the place of the target among the classes in descending order of the
            input, 1 for the prediction. Of equal inputs the first class comes first. 0 for ignored rows.
        top_log_probabilities: With ``top_k`` the largest log-probabilities of each row, in descending order; of the
            shape of rows and then k.
        top_classes: int64, of the same shape: their classes. Of equal inputs the first class comes first.
        z_loss_sum: With a ``z_loss`` above 0, the part of `loss_sum` that it adds.
        correct_count: With ``predictions``, how many of the rows that counted have their target as prediction.
        exact: With ``exact=True`` or ``exact="by_class"``, the exact sums over the rows.
        exact_by_class: With ``exact="by_class"``, those over the rows of each class that the rows have.
        was_counted: Whether the key of an evaluation of a `Run` counted before, so that nothing was added.
    """

    loss: npt.NDArray[Any]
    loss_sum: float
    weight_sum: float
    row_count: int
    ignored_count: int
    grad: npt.NDArray[Any] | None = None
    lse: npt.NDArray[Any] | None = None
    entropy: npt.NDArray[Any] | None = None
    probabilities: npt.NDArray[Any] | None = None
    log_probabilities: npt.NDArray[Any] | None = None
    predictions: npt.NDArray[Any] | None = None
    target_log_probabilities: npt.NDArray[Any] | None = None
    target_ranks: npt.NDArray[Any] | None = None
    top_log_probabilities: npt.NDArray[Any] | None = None
    top_classes: npt.NDArray[Any] | None = None
    z_loss_sum: float | None = None
    correct_count: int | None = None
    exact: ExactSums | None = None
    exact_by_class: dict[int, ExactSums] | None = None
    was_counted: bool = False
