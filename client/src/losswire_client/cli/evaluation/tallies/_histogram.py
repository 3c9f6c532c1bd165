import numpy as np
import numpy.typing as npt

from losswire_client._readers import Array
from losswire_client.cli.evaluation.tallies._evaluated import Evaluated

KEPT_BITS = 19  # sign, exponent and 10 mantissa bits of a float32, so that a bin is a thousandth wide
DROPPED_BITS = 32 - KEPT_BITS

Losses = npt.NDArray[np.float64]


class LossHistogram:
    """A histogram of losses of any magnitude, in 4 MiB.

    The bins are log-linear, as in HdrHistogram: the upper bits of a number are its bin.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(2**KEPT_BITS, np.int64)

    def add(self, evaluated: Evaluated) -> None:
        self.add_numbers(evaluated.losses[evaluated.counted])

    def add_numbers(self, losses: Array) -> None:
        """Adds losses, or other numbers, of any floating dtype."""
        with np.errstate(over="ignore"):
            bins = losses.astype(np.float32).view(np.uint32) >> DROPPED_BITS
        self._counts += np.bincount(bins, minlength=len(self._counts))

    @property
    def finite_count(self) -> int:
        return int(self._finite()[2].sum())

    @property
    def nonfinite_count(self) -> int:
        """Rows whose loss is NaN or infinite."""
        return int(self._counts.sum()) - self.finite_count

    def quantile(self, q: float) -> float:
        """The quantile of the finite losses, accurate to a thousandth."""
        least, most, counts = self._finite()
        below = np.cumsum(counts)
        return float(most[np.searchsorted(below, q * below[-1])] if q else least[0])

    def count_below(self, losses: Losses) -> Losses:
        """How many rows have a loss below each of these, as if the losses in a bin were spread over it evenly."""
        least, most, counts = self._finite()
        below = np.cumsum(counts)
        edges = np.stack([least, most], axis=1).reshape(-1)
        return np.interp(losses, edges, np.stack([below - counts, below], axis=1).reshape(-1))

    def _finite(self) -> tuple[Losses, Losses, npt.NDArray[np.int64]]:
        """The bins that have rows, in ascending order: their lower bounds, upper bounds and counts."""
        bins = np.flatnonzero(self._counts).astype(np.uint32)
        ends = np.stack([bins << DROPPED_BITS, (bins + 1 << DROPPED_BITS) - 1]).view(np.float32)
        finite = np.isfinite(ends).all(axis=0)
        least, most = np.sort(ends[:, finite].astype(np.float64), axis=0)
        order = np.argsort(least)
        return least[order], most[order], self._counts[bins[finite][order]]
