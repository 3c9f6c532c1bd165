"""What all processes of a server have counted, the dead ones too."""

import operator
from collections.abc import Callable, Iterable
from itertools import chain

from prometheus_client.samples import Sample

from losswire_server.metrics.limits import LIMITS
from losswire_server.metrics.series import DEFAULT_SERIES, OTHER_SERIES
from losswire_server.supervision.snapshot import Family, Key, Series, Snapshot, key_of

COUNTED = ("counter", "histogram", "summary")  # what a dead process leaves; what it had in use is gone
MOMENTS = ("_time_seconds", "_timestamp_seconds")  # of gauges that are points in time: the first one holds

Families = dict[str, Family]


class Ledger:
    """Adds up metrics. Counters never fall: each process's place keeps what its dead processes have counted.

    Args:
        places: How many processes there are at a time.
        max_series: The most names of series; those past the limit are added up as `other`.

    Attributes:
        began: When each series began in any process, in seconds of the clock.
    """

    def __init__(self, places: int, max_series: int) -> None:
        self.began: dict[Series, float] = {}
        self._latest: list[Families] = [{} for _ in range(places)]
        self._left: list[Families] = [{} for _ in range(places)]
        self._named = {DEFAULT_SERIES, OTHER_SERIES}
        self._max_named = max_series + len(self._named)

    def report(self, place: int, snapshot: Snapshot) -> None:
        """Takes the present metrics of the process at a place."""
        for (name, loss), at in sorted(snapshot.began.items(), key=lambda item: item[1]):
            series = self._series(name), loss
            self.began[series] = min(at, self.began.get(series, at))
        self._latest[place] = self._renamed(snapshot.families)

    def retire(self, place: int) -> None:
        """Keeps what the process at a place has counted, which has ended."""
        counted = {name: family for name, family in self._latest[place].items() if family.type in COUNTED}
        self._left[place] = added_up([self._left[place], counted])
        self._latest[place] = {}

    def total(self, own: Families) -> Families:
        """The metrics of the whole server.

        Args:
            own: Those of the supervisor.
        """
        # First within each place: a sum in another order may be rounded to less once a process has left.
        places = (added_up(both) for both in zip(self._latest, self._left, strict=True))
        return added_up([*places, own])

    def _renamed(self, families: Families) -> Families:
        return {
            name: family if not _has_series(family) else family._replace(samples=self._regrouped(family))
            for name, family in families.items()
        }

    def _regrouped(self, family: Family) -> dict[Key, Sample]:
        samples: dict[Key, Sample] = {}
        for sample in family.samples.values():
            labels = {**sample.labels, "series": self._series(sample.labels["series"])}
            _add(samples, sample._replace(labels=labels), family)
        return samples

    def _series(self, name: str) -> str:
        if name not in self._named and len(self._named) < self._max_named:
            self._named.add(name)
        return name if name in self._named else OTHER_SERIES


def added_up(parts: Iterable[Families]) -> Families:
    """The metrics of several processes together."""
    total: Families = {}
    for family in chain.from_iterable(families.values() for families in parts):
        into = total.setdefault(family.name, family._replace(samples={}))
        for sample in family.samples.values():
            _add(into.samples, sample, family)
    return total


def _has_series(family: Family) -> bool:
    return any("series" in sample.labels for sample in family.samples.values())


def _add(into: dict[Key, Sample], sample: Sample, family: Family) -> None:
    key = key_of(sample)
    before = into.get(key)
    if before is None:
        into[key] = sample
    else:
        value = _together(family)(before.value, sample.value)
        into[key] = before._replace(value=value, exemplar=before.exemplar or sample.exemplar)


def _together(family: Family) -> Callable[[float, float], float]:
    if family.type == "info" or family.name == LIMITS:  # each process keeps the same
        return max
    return min if family.type == "gauge" and family.name.endswith(MOMENTS) else operator.add
