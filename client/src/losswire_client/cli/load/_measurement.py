import re
import statistics
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

MIN_FOR_P99 = 100  # with fewer evaluations, the slowest one would be the 99th percentile


class Shape(NamedTuple):
    """The shape of a batch of logits."""

    rows: int
    classes: int

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """The shape that a text such as ``256x32000`` means."""
        match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
        if match is None:
            raise ValueError(f"expected ROWSxCLASSES, as in 256x32000, got {text}")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.rows}x{self.classes}"


class Case(NamedTuple):
    """A case to measure: batches of a shape, and how many callers send them one after the other."""

    shape: Shape
    concurrency: int

    def __str__(self) -> str:
        return f"{self.shape}, {self.concurrency} caller{'s' if self.concurrency > 1 else ''}"


class Arrivals(NamedTuple):
    """When calls are due. They do not wait for each other.

    Attributes:
        rate: Calls a second.
        spacing: ``constant`` for equal intervals, or ``poisson`` for calls independent of each other.
    """

    rate: float
    spacing: str


class Turn(NamedTuple):
    """The results of a case over some seconds.

    Attributes:
        latencies: Seconds of each evaluation, from when it was due.
        refused_count: Evaluations that the server had no room for.
        seconds: How long the turn was.
        cpu_seconds: CPU time of this process.
        waiting_count: Calls that began late because all callers were waiting for answers.
        late_count: Calls that began late though a caller was free: this process could not keep up.
        unsent_count: Calls that were due, but were given up.
    """

    latencies: list[float]
    refused_count: int
    seconds: float
    cpu_seconds: float = 0.0
    waiting_count: int = 0
    late_count: int = 0
    unsent_count: int = 0

    @property
    def rate(self) -> float:
        """Evaluations per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float | None:
        """Seconds within which so many percent of the evaluations ended; None if there were too few to tell."""
        if len(self.latencies) < (MIN_FOR_P99 if percent > 90 else 1):
            return None
        return float(np.percentile(self.latencies, percent))


@dataclass
class Measurement:
    """The turns of a case.

    Attributes:
        evaluation_bytes: Bytes of the logits, the targets and the gradient of one evaluation.
    """

    case: Case
    evaluation_bytes: int
    turns: list[Turn] = field(default_factory=list)

    @property
    def whole(self) -> Turn:
        """All turns as one."""
        latencies = [latency for turn in self.turns for latency in turn.latencies]
        return Turn(latencies, *(sum(numbers) for numbers in zip(*(turn[1:] for turn in self.turns), strict=True)))

    @property
    def rate(self) -> float:
        """Evaluations per second: the median of the turns."""
        return statistics.median(turn.rate for turn in self.turns)

    def percentile(self, percent: float) -> float | None:
        """A percentile over the evaluations of all turns, as `Turn.percentile`."""
        return self.whole.percentile(percent)
