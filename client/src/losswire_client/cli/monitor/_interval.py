import math
from collections import defaultdict
from collections.abc import Mapping

from losswire_client.cli.monitor._scrape import NO_SAMPLES, Scrape, label_values


class Interval:
    """The increases of counters between two scrapes.

    Attributes:
        after: The later scrape.
        seconds: How long the interval was.
    """

    def __init__(self, before: Scrape, after: Scrape) -> None:
        self.after = after
        self.seconds = after.at - before.at
        self._before = before

    def increases(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
        """The increase of a counter, added up by the values of these labels."""
        before = self._before.samples.get(name, NO_SAMPLES)
        gained: dict[tuple[str, ...], float] = defaultdict(float)
        for labels, value in self.after.samples.get(name, NO_SAMPLES).items():
            gained[label_values(labels, by)] += increase(before.get(labels, 0.0), value)
        return dict(gained)

    def rates(self, name: str, *by: str) -> dict[tuple[str, ...], float]:
        """The increase of a counter per second, added up by the values of these labels."""
        return {values: gained / self.seconds for values, gained in self.increases(name, *by).items()}

    def buckets(self, name: str, by: str) -> dict[str, dict[float, float]]:
        """The increases of a histogram's buckets, by their bounds, for each value of a label."""
        gained: dict[str, dict[float, float]] = defaultdict(dict)
        for (value, bound), count in self.increases(f"{name}_bucket", by, "le").items():
            gained[value][float(bound)] = count
        return dict(gained)


def increase(before: float, after: float) -> float:
    """The increase of a counter. A counter that is less than before has started anew, with its server."""
    return after - before if after >= before else after


def histogram_quantile(q: float, buckets: Mapping[float, float]) -> float:
    """A quantile, computed as in Prometheus: observations count as evenly spread over their bucket.

    Args:
        q: The quantile, above 0, up to 1.
        buckets: For each bound, how many observations are at most as large. The largest bound is infinite.

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
