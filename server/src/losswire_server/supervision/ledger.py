"""What all processes of a server have counted, the dead ones too."""

import operator
import time
from collections.abc import Callable, Iterable
from itertools import chain

from prometheus_client.samples import Sample

from losswire_server.metrics.limits import LIMITS
from losswire_server.metrics.series.names import DEFAULT_SERIES, OTHER_SERIES
from losswire_server.supervision.snapshot import Family, Key, Part, Series, Snapshot, key_of

COUNTED = ("counter", "histogram", "summary")  # what a dead process leaves; what it had in use is gone
MOMENTS = ("_time_seconds", "_timestamp_seconds")  # of gauges that are points in time: the first one holds

NAMES = "losswire_series"  # the number of names in use: processes may have the same ones
DEVICE = "losswire_device_"  # what begins so is told of a GPU by every process that uses it
CHOSEN = frozenset((DEFAULT_SERIES, OTHER_SERIES))  # names that callers do not choose

Families = dict[str, Family]


class Ledger:
    """Adds up metrics. Counters never fall: each process's place keeps what its dead processes have counted.

    Args:
        places: How many processes there are at a time.
        max_series: The most names of series; those past the limit are added up as `other`.
        idle_seconds: A series that no process evaluates for so long is forgotten; 0 keeps all.
        clock: Gives seconds, as the clock of all processes.

    Attributes:
        began: When each part of the metrics by series began in any process, in seconds of the clock.
    """

    def __init__(
        self, places: int, max_series: int, idle_seconds: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.began: dict[Part, float] = {}
        self._used: dict[Series, float] = {}
        self._latest: list[Families] = [{} for _ in range(places)]
        self._left: list[Families] = [{} for _ in range(places)]
        self._named = set(CHOSEN)
        self._max_named = max_series + len(self._named)
        self._idle_seconds = idle_seconds
        self._clock = clock

    def report(self, place: int, snapshot: Snapshot) -> None:
        """Takes the present metrics of the process at a place."""
        for (name, *others), at in sorted(snapshot.began.items(), key=lambda item: item[1]):
            part = self._series(name), *others
            self.began[part] = min(at, self.began.get(part, at))
        for (name, loss), at in snapshot.used.items():
            series = self._series(name), loss
            self._used[series] = max(at, self._used.get(series, at))
        latest = self._renamed(snapshot.families)
        self._left[place] = added_up([self._left[place], _forgotten(self._latest[place], latest)])
        self._latest[place] = latest
        self._forget_idle()

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
        total = added_up([*places, own])
        for key, sample in total[NAMES].samples.items() if NAMES in total else ():
            total[NAMES].samples[key] = sample._replace(value=len(self._named - CHOSEN))
        return total

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

    def _forget_idle(self) -> None:
        """Forgets series that no process evaluates any more, in what dead processes have left too."""
        now = self._clock()
        idle = {
            series for series, at in self._used.items() if series[0] not in CHOSEN and now - at > self._idle_seconds
        }
        if not idle or not self._idle_seconds:
            return
        self._used = {series: at for series, at in self._used.items() if series not in idle}
        for part in [part for part in self.began if part[:2] in idle]:
            del self.began[part]
        for families in (*self._latest, *self._left):
            for family in families.values():
                for key in [key for key, sample in family.samples.items() if _series_of(sample) in idle]:
                    del family.samples[key]
        self._named = {*CHOSEN, *(name for name, _ in self._used)}


def _forgotten(before: Families, after: Families) -> Families:
    """What a process had counted of series that it has forgotten since. Others may not have forgotten them."""
    gone = {}
    for name, family in before.items():
        samples = family.samples.keys() - after[name].samples.keys() if _has_series(family) and name in after else ()
        gone[name] = family._replace(samples={key: family.samples[key] for key in samples})
    return {name: family for name, family in gone.items() if family.samples}


def _series_of(sample: Sample) -> Series:
    return sample.labels.get("series", ""), sample.labels.get("loss", "")


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
    if family.type == "info" or family.name == LIMITS or family.name.startswith(DEVICE):  # each process tells the same
        return max
    return min if family.type == "gauge" and family.name.endswith(MOMENTS) else operator.add
