"""Whether a process has grown.

Memory goes up and down by blocks that malloc has or has not given back, so single samples say little. After the warm-up
the samples of a process's life are cut in three. It has grown if the median of the last third exceeds that of the first
by more than a bound. The bounds are above what processes that leak nothing show, and a leak exceeds them in time: the
longer the soak, the smaller the leak that is found.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from trials.watching import Held

WARM_UP_SHARE, LEAST_WARM_UP = 0.2, 2  # of the samples of a life, and samples
LEAST_SAMPLES = 5  # that are compared

MB = 1e6
SERVER: Mapping[str, float] = {"memory": 16 * MB, "descriptors": 4, "threads": 4}
CALLER: Mapping[str, float] = {"memory": 8 * MB, "descriptors": 4, "threads": 4}


class Life(NamedTuple):
    """The samples of one process, or of the processes that are one server.

    Attributes:
        name: Of the process.
        bounds: What it may grow by.
        samples: The first one first.
    """

    name: str
    bounds: Mapping[str, float]
    samples: list[Held]


class Growth(NamedTuple):
    """How much of something a process took in one life.

    Attributes:
        name: Of what.
        first: The median of the first third.
        grown: By how much the median of the last third is larger.
        spread: The difference of the most and the least, which is mostly noise.
        bound: The most that it may have grown.
    """

    name: str
    first: float
    grown: float
    spread: float
    bound: float

    @property
    def is_too_much(self) -> bool:
        return self.grown > self.bound


def growths(life: Sequence[Held], bounds: Mapping[str, float]) -> list[Growth]:
    """What a process grew by in one life; nothing if the life was too short to tell."""
    warm = life[max(LEAST_WARM_UP, int(WARM_UP_SHARE * len(life))) :]
    if len(warm) < LEAST_SAMPLES:
        return []
    return [_growth(name, [_OF[name](sample) for sample in warm], bound) for name, bound in bounds.items()]


def _growth(name: str, values: list[float], bound: float) -> Growth:
    third = max(1, len(values) // 3)
    first, last = statistics.median(values[:third]), statistics.median(values[-third:])
    return Growth(name, first, last - first, max(values) - min(values), bound)


_OF: Mapping[str, Callable[[Held], float]] = {
    "memory": lambda sample: sample.memory,
    "descriptors": lambda sample: sample.descriptors,
    "threads": lambda sample: sample.threads,
}
