"""A counter that loses nothing of what is added to it, although it is a double."""

import math
from collections.abc import Sequence

from prometheus_client import Counter


class ExactCounter:
    """Adds to a counter, and keeps what the counter is too large to hold until that makes a difference.

    A double of 2^53 stays what it is if 1 is added, however often. Here a second double holds the difference between
    what was added and what is shown: about half of the last digit shown, at most. So sums have twice as many digits,
    and what is shown depends on order, and on what came before, by its last digit at most. One thread adds.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._shown = self._hidden = 0.0

    def add(self, numbers: Sequence[float]) -> None:
        """Adds finite numbers of at least 0."""
        step = math.fsum((self._hidden, *numbers))
        before, step = self._shown, max(0.0, step)  # what is hidden may be negative, and counters never fall
        self._counter.inc(step)
        self._shown += step  # rounded as the counter rounds
        self._hidden = math.fsum((before, self._hidden, *numbers, -self._shown))
