from dataclasses import dataclass
from typing import Any

import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Result:
    """A loss, the sums behind it and, if asked for, the gradient.

    Results merge exactly: the mean over several batches is the sum of their ``loss_sum`` divided by the sum of their
    ``weight_sum``, never the mean of their losses.

    Attributes:
        loss: float64 for float64 input, else float32. Of the target's shape for reduction ``none``, else a scalar
            array of shape ().
        loss_sum: Sum of the rows' losses in double precision, whatever the reduction.
        weight_sum: What ``mean`` divides by.
        row_count: Rows that counted.
        ignored_count: Rows that were ignored because of ``ignore_index``.
        grad: Gradient of the loss with respect to the input, of the input's shape and dtype; None if not asked for.
    """

    loss: npt.NDArray[Any]
    loss_sum: float
    weight_sum: float
    row_count: int
    ignored_count: int
    grad: npt.NDArray[Any] | None = None
