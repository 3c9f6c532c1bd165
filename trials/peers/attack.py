"""What an attack is, and what it knows."""

import random
import time
from collections.abc import Callable
from typing import NamedTuple


class Place(NamedTuple):
    """Where the server is.

    Attributes:
        host: Its address.
        port: Of the service.
        metrics_port: Of its metrics.
    """

    host: str
    port: int
    metrics_port: int

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"


class Effort:
    """How long an attack goes on, and how much it takes.

    Args:
        seconds: How long.
        share: Of the numbers and bytes of a whole attack.
        seed: Of its random numbers.
    """

    def __init__(self, seconds: float, share: float, seed: int) -> None:
        self.rng = random.Random(seed)
        self._share = share
        self._end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds until its end, at least 0."""
        return max(0.0, self._end - time.monotonic())

    def part(self, number: int) -> int:
        """Its share of a number, at least 1."""
        return max(1, int(number * self._share))


Attack = Callable[[Place, Effort], int]  # returns how many tries it made
