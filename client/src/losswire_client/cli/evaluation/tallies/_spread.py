import numpy as np

from losswire_client._readers import Array, slices
from losswire_client.cli.evaluation.tallies._evaluated import Evaluated
from losswire_client.cli.evaluation.tallies._sums import LossSums, quotient

BLOCK = 2**14  # how many losses are added up together, few enough for a core's cache


class Spread:
    """Sums of squares for the standard error of a mean m = sum(l) / sum(w), where w has already weighted the losses l.

    The error of such a ratio is sqrt(n / (n - 1) * sum((l - m w)^2)) / sum(w). Without weights it is the losses'
    standard deviation over sqrt(n).
    """

    def __init__(self) -> None:
        self._pivot = 0.0  # near the mean, since sums of squares about 0 would cancel if losses are alike
        self._squares = np.zeros(3)  # sums of r^2, r w and w^2, with r = l - pivot w
        self._is_empty = True

    def add(self, evaluated: Evaluated) -> None:
        losses, weights = evaluated.losses, evaluated.weights
        if self._is_empty and evaluated.result.row_count:
            mean = quotient(evaluated.result.loss_sum, evaluated.result.weight_sum)
            self._pivot, self._is_empty = mean if np.isfinite(mean) else 0.0, False
        with np.errstate(over="ignore", invalid="ignore"):
            for part in slices(losses.size, BLOCK):
                self._squares += _squares(losses[part].astype(np.float64), weights[part], self._pivot)

    def standard_error(self, sums: LossSums) -> float:
        """The standard error of the mean of these rows, taken as independent; NaN for fewer than two rows."""
        off = sums.loss - self._pivot
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.maximum(0.0, self._squares @ (1, -2 * off, off * off))  # rounding may make it negative
            error = float(np.sqrt(squares * quotient(sums.row_count, sums.row_count - 1)))
        return quotient(error, abs(sums.weight_sum))


def _squares(losses: Array, weights: Array, pivot: float) -> tuple[float, float, float]:
    rest = losses - pivot * weights
    return np.sum(rest * rest), np.sum(rest * weights), np.sum(weights * weights, dtype=np.float64)
