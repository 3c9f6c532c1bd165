import re
import statistics
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

MIN_FOR_P99 = 100  # of fewer, the slowest one would be called the 99th percentile


class Shape(NamedTuple):
    """Of a batch of logits."""

    rows: int
    classes: int

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Of a text as ``256x32000``."""
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
        if match is None:
            raise ValueError(f"expected ROWSxCLASSES, as in 256x32000, got {text}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.rows}x{self.classes}"


class Case(NamedTuple):
    """What is measured: batches of a shape, and how many callers send one after the other."""

    shape: Shape
    concurrency: int

    def __str__(self) -> str:
        return f"{self.shape}, {self.concurrency} caller{'s' if self.concurrency > 1 else ''}"


class Turn(NamedTuple):
    """What some seconds of a case gave.

    Attributes:
        latencies: Seconds of each evaluation.
        refused_count: Evaluations that the server had no room for.
        seconds: How long it was.
    """

    latencies: list[float]
    refused_count: int
    seconds: float


@dataclass
class Measurement:
    """The turns of a case.

    Attributes:
        evaluation_bytes: Of logits, targets and gradient of one evaluation.
    """

    case: Case
    evaluation_bytes: int
    turns: list[Turn] = field(default_factory=list)

    @property
    def evaluation_count(self) -> int:
        return sum(len(turn.latencies) for turn in self.turns)

    @property
    def refused_count(self) -> int:
        return sum(turn.refused_count for turn in self.turns)

    @property
    def rate(self) -> float:
        """Evaluations per second: the median of the turns."""
        return statistics.median(len(turn.latencies) / turn.seconds for turn in self.turns)

    def percentile(self, percent: float) -> float | None:
        """Seconds within which so many of the evaluations ended; None if they are too few to tell."""
        if self.evaluation_count < (MIN_FOR_P99 if percent > 90 else 1):
            return None
        return float(np.percentile(np.concatenate([turn.latencies for turn in self.turns]), percent))
