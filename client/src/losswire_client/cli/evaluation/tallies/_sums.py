from dataclasses import dataclass

import numpy as np

from losswire_client.cli.evaluation.tallies._evaluated import Evaluated


@dataclass
class LossSums:
    """Sums over results. Quotients of sums are exact means over any batches; means of means are not."""

    loss_sum: float = 0.0
    weight_sum: float = 0.0
    row_count: int = 0
    ignored_count: int = 0
    correct_count: int = 0

    def add(self, evaluated: Evaluated) -> None:
        result = evaluated.result
        self.loss_sum += result.loss_sum
        self.weight_sum += result.weight_sum
        self.row_count += result.row_count
        self.ignored_count += result.ignored_count
        self.correct_count += result.correct_count or 0

    @property
    def loss(self) -> float:
        """The mean; NaN if no row counted, as in PyTorch."""
        return quotient(self.loss_sum, self.weight_sum)

    @property
    def accuracy(self) -> float:
        return quotient(self.correct_count, self.row_count)


def quotient(numerator: float, denominator: float) -> float:
    """The quotient in floating-point arithmetic: 0 / 0 is NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(numerator) / np.float64(denominator))
