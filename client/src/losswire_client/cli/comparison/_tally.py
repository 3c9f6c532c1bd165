"""What the rows of files come to."""

from dataclasses import dataclass, field

import numpy as np

from losswire.exact_sum import UNITS_IN_ONE, ZERO, ExactSum
from losswire.exact_sums import ExactSums
from losswire_client._readers import Array
from losswire_client.cli.comparison._compared import Compared
from losswire_client.cli.evaluation.tallies._histogram import LossHistogram

MOST_PLACES = 5
DIGITS = 53  # of a double's significand
HALF = 27  # bits of its lower half


@dataclass
class Tally:
    """Sums over rows, which do not depend on how these are cut into evaluations.

    Attributes:
        sums: The exact sums of the server.
        log_probabilities: Of the labels in the candidate's distribution.
        maximum: The largest divergence of a row that is not NaN; NaN if there is none.
        changes: Histogram of the changes of the labels' log-probabilities, if they are evaluated row by row.
        nonfinite: The first rows whose divergence is NaN or infinite, with it.
        masked_count: Rows that a mask has left out.
        seconds: How long it took.
    """

    sums: ExactSums = field(default_factory=ExactSums)
    log_probabilities: ExactSum | None = ZERO
    maximum: float = np.nan
    changes: LossHistogram | None = None
    nonfinite: list[tuple[int, float]] = field(default_factory=list)
    masked_count: int = 0
    seconds: float = 0.0

    def add(self, compared: Compared) -> None:
        """Adds rows."""
        result, losses = compared.result, compared.losses
        if result.exact is None:
            raise ValueError("expected the exact sums of an evaluation")
        self.sums += result.exact
        self._add_labels(compared.log_probabilities)
        self.maximum = float(np.fmax(self.maximum, np.fmax.reduce(losses, initial=np.nan)))
        places = np.flatnonzero(~np.isfinite(losses))[: MOST_PLACES - len(self.nonfinite)]
        self.nonfinite += [(int(compared.indices[i]), float(losses[i])) for i in places]
        if compared.changes is not None:
            self.changes = self.changes or LossHistogram()
            self.changes.add_numbers(compared.changes)

    def merge(self, other: "Tally") -> None:
        """Adds the sums of other rows, without their histogram and places."""
        self.sums += other.sums
        self.masked_count += other.masked_count
        self.maximum = float(np.fmax(self.maximum, other.maximum))
        self.seconds += other.seconds
        known = self.log_probabilities is not None and other.log_probabilities is not None
        self.log_probabilities = self.log_probabilities + other.log_probabilities if known else None  # type: ignore[operator]

    def _add_labels(self, log_probabilities: Array | None) -> None:
        if log_probabilities is None or self.log_probabilities is None:
            self.log_probabilities = None
        else:
            self.log_probabilities += exact_sum(log_probabilities)


def exact_sum(numbers: Array) -> ExactSum:
    """The exact sum of an array."""
    finite = np.isfinite(numbers)
    significands, exponents = np.frexp(numbers[finite].astype(np.float64))
    whole = np.ldexp(significands, DIGITS).astype(np.int64)
    units = 0
    for exponent in np.unique(exponents).tolist():
        each = whole[exponents == exponent]
        total = (int((each >> HALF).sum()) << HALF) + int((each & (1 << HALF) - 1).sum())
        shift = exponent - DIGITS
        units += total * (UNITS_IN_ONE << shift) if shift > 0 else total * (UNITS_IN_ONE >> -shift)
    others = numbers[~finite]
    counts = [int(count) for count in (np.isnan(others).sum(), np.isposinf(others).sum(), np.isneginf(others).sum())]
    return ExactSum(units, *counts)
