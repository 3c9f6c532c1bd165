import math
from collections import defaultdict
from collections.abc import Mapping

from losswire_client.cli.monitor._scrape import NO_SAMPLES, Scrape, label_values


class Interval:
    """What counters gained between two scrapes.

    Attributes:
        after: The later scrape.
        seconds: How long it was.
    """

    def __init__(self, before: Scrape, after: Scrape) -> None:
        self.after = after
        self.seconds = after.at - before.at
        self._before = before

    def increases(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
        """How much a counter gained, added up by the values of these labels."""
        before = self._before.samples.get(name, NO_SAMPLES)
        gained: dict[tuple[str, ...], float] = defaultdict(float)
        for labels, value in self.after.samples.get(name, NO_SAMPLES).items():
            gained[label_values(labels, by)] += increase(before.get(labels, 0.0), value)
        return dict(gained)

    def rates(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
        """The same per second."""
        return {values: gained / self.seconds for values, gained in self.increases(name, *by).items()}

    def buckets(self, name: str, by: str) -> dict[str, dict[float, float]]:
        """What a histogram's buckets gained, by their bounds, for each value of a label."""
        gained: dict[str, dict[float, float]] = defaultdict(dict)
        for (value, bound), count in self.increases(f"{name}_bucket", by, "le").items():
            gained[value][float(bound)] = count
        return dict(gained)


def increase(before: float, after: float) -> float:
    """What a counter gained. One that has less than before has started anew, with its server."""
    return after - before if after >= before else after


def histogram_quantile(q: float, buckets: Mapping[float, float]) -> float:
    """As Prometheus has it: what a bucket counted is taken to be spread over it evenly.

    Args:
        q: Above 0, up to 1.
        buckets: How many observations are at most as large as each bound, of which the largest is infinite.

    Returns:
        NaN if nothing was observed; the largest finite bound if the quantile lies beyond it.
    """
    rank = q * max(buckets.values(), default=0.0)
    lower, below = 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if 0 < rank <= count:
            return lower if math.isinf(bound) else lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return math.nan
