import math
from collections import defaultdict
from collections.abc import Mapping

from losswire.monitoring.expressions import Where
from losswire_client.cli.monitor._scrape import EVERYWHERE, NO_SAMPLES, Scrape, is_where, label_values


class Interval:
    """The increases of counters between two scrapes.

    Attributes:
        after: The later scrape.
        seconds: How long the interval was.
    """

    def __init__(self, before: Scrape, after: Scrape, seconds: float | None = None) -> None:
        self.after = after
        self.seconds = after.at - before.at if seconds is None else seconds
        self._before = before

    @classmethod
    def since_start(cls, after: Scrape) -> "Interval":
        """All that the server has counted. As an interval of one second, so that rates are numbers."""
        return cls(Scrape(after.at, {}), after, 1.0)

    def increases(self, name: str, *by: str, where: Where = EVERYWHERE) -> dict[tuple[str, ...], float]:
        """The increase of a counter, added up by the values of these labels."""
        before = self._before.samples.get(name, NO_SAMPLES)
        gained: dict[tuple[str, ...], float] = defaultdict(float)
        for labels, value in self.after.samples.get(name, NO_SAMPLES).items():
            if is_where(labels, where):
                gained[label_values(labels, by)] += increase(before.get(labels, 0.0), value)
        return dict(gained)

    def rates(self, name: str, *by: str, where: Where = EVERYWHERE) -> dict[tuple[str, ...], float]:
        """The increase of a counter per second, added up by the values of these labels."""
        return {values: gained / self.seconds for values, gained in self.increases(name, *by, where=where).items()}

    def buckets(self, name: str, *by: str, where: Where = EVERYWHERE) -> dict[tuple[str, ...], dict[float, float]]:
        """The increases of a histogram's buckets, by their bounds, for each combination of the labels' values."""
        gained: dict[tuple[str, ...], dict[float, float]] = defaultdict(dict)
        for (*values, bound), count in self.increases(f"{name}_bucket", *by, "le", where=where).items():
            gained[tuple(values)][float(bound)] = count
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
        NaN if nothing was observed; the largest finite bound if the quantile lies beyond it; the lowest one if it lies
        below that and that is not above 0.
    """
    rank = q * max(buckets.values(), default=0.0)
    lower, below = None, 0.0
    for bound, count in sorted(buckets.items()):
        if 0 < rank <= count:
            return _between(lower, bound, (rank - below) / (count - below))
        lower, below = bound, count
    return math.nan


def _between(lower: float | None, upper: float, part: float) -> float:
    """A number between two bounds; the lowest bucket begins at 0."""
    if math.isinf(upper):
        return lower or 0.0
    if lower is None and upper <= 0:
        return upper
    return (lower or 0.0) + (upper - (lower or 0.0)) * part
