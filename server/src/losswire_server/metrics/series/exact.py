"""A sum that loses nothing of what is added to it, although it is a double."""

import math
from collections.abc import Sequence


class ExactSum:
    """Adds up, and keeps what the shown double is too large to hold until that makes a difference.

    A double of 2^53 stays what it is if 1 is added, however often. Here a second double holds the difference between
    what was added and what is shown: about half of the last digit shown, at most. So sums have twice as many digits,
    and what is shown depends on order, and on what came before, by its last digit at most. One thread adds.

    Attributes:
        shown: The sum, which never falls.
    """

    def __init__(self) -> None:
        self.shown = self._hidden = 0.0

    def add(self, numbers: Sequence[float]) -> None:
        """Adds finite numbers of at least 0."""
        step = math.fsum((self._hidden, *numbers))
        before, step = self.shown, max(0.0, step)  # what is hidden may be negative, and counters never fall
        self.shown += step
        self._hidden = math.fsum((before, self._hidden, *numbers, -self.shown))
