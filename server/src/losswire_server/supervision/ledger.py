"""What all processes of a server have counted, the dead ones too."""

import operator
import time
from collections.abc import Callable, Iterable
from itertools import chain

from prometheus_client.samples import Sample

from losswire_server.metrics.limits import LIMITS
from losswire_server.metrics.series.names import DEFAULT_SERIES, OTHER_SERIES
from losswire_server.supervision import run_gauges
from losswire_server.supervision.snapshot import Family, Key, Part, Series, Snapshot, key_of

COUNTED = ("counter", "histogram", "summary")  # what a dead process leaves; what it had in use is gone
MOMENTS = ("_time_seconds", "_timestamp_seconds")  # of gauges that are points in time: the first one holds

NAMES = "losswire_series"  # the number of names in use: processes may have the same ones
DEVICE = "losswire_device_"  # what begins so is told of a GPU by every process that uses it
CHOSEN = frozenset((DEFAULT_SERIES, OTHER_SERIES))  # names that callers do not choose

Families = dict[str, Family]

NO_SNAPSHOT = Snapshot({}, {}, {})


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
        self._snapshots = [NO_SNAPSHOT] * places  # as the processes tell them: under names of their own
        self._left: list[Families] = [{} for _ in range(places)]
        self._named = set(CHOSEN)
        self._past_limit: set[str] = set()
        self._max_named = max_series + len(self._named)
        self._others: dict[Key, float] = {}  # what was shown of `other`
        self._idle_seconds = idle_seconds
        self._clock = clock

    def report(self, place: int, snapshot: Snapshot) -> None:
        """Takes the present metrics of the process at a place."""
        before, self._snapshots[place] = self._snapshots[place], snapshot
        gone = _forgotten(before, snapshot)
        self._learn(_only(before, _names_in(gone)))  # the others wait until all have reported
        self._keep(place, gone)

    def retire(self, place: int) -> None:
        """Keeps what the process at a place has counted, which has ended."""
        before, self._snapshots[place] = self._snapshots[place], NO_SNAPSHOT
        self._learn(before)
        self._keep(place, {name: family for name, family in before.families.items() if family.type in COUNTED})

    def total(self, own: Families) -> Families:
        """The metrics of the whole server.

        Args:
            own: Those of the supervisor.
        """
        self._settle()
        latest = (self._renamed(snapshot.families) for snapshot in self._snapshots)
        # First within each place: a sum in another order may be rounded to less once a process has left.
        places = [added_up(both) for both in zip(latest, self._left, strict=True)]
        total = added_up([*run_gauges.latest(places), own])
        for key, sample in total[NAMES].samples.items() if NAMES in total else ():
            total[NAMES].samples[key] = sample._replace(value=len(self._named - CHOSEN))
        for family in filter(_has_series, total.values()):
            self._raise_others(family.samples)
        return total

    def _keep(self, place: int, counted: Families) -> None:
        self._left[place] = added_up([self._left[place], self._renamed(counted)])

    def _settle(self) -> None:
        """Names series once all processes have reported: only then is it known which names are free."""
        self._forget_idle()
        self._past_limit &= {name for snapshot in self._snapshots for name in _names_in(snapshot.families)}
        for snapshot in self._snapshots:
            self._learn(snapshot)

    def _learn(self, snapshot: Snapshot) -> None:
        for (name, *others), at in sorted(snapshot.began.items(), key=lambda item: item[1]):
            part = self._series(name), *others
            self.began[part] = min(at, self.began.get(part, at))
        for (name, loss), at in snapshot.used.items():
            series = self._series(name), loss
            self._used[series] = max(at, self._used.get(series, at))

    def _series(self, name: str) -> str:
        """The name under which a series is shown. Past the limit it stays `other` while any process has it.

        Otherwise it would take along what is in `other`, once there is room for its name.
        """
        if name in self._named:
            return name
        if name in self._past_limit or len(self._named) >= self._max_named:
            self._past_limit.add(name)
            return OTHER_SERIES
        self._named.add(name)
        return name

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

    def _raise_others(self, samples: dict[Key, Sample]) -> None:
        """Shows no less of `other` than before: a sum of many in another order may be rounded to less."""
        for key, sample in samples.items():
            if sample.labels["series"] == OTHER_SERIES:
                self._others[key] = max(sample.value, self._others.get(key, 0.0))
                samples[key] = sample._replace(value=self._others[key])

    def _forget_idle(self) -> None:
        """Forgets series that no process evaluates any more, which dead processes have left."""
        now, living = self._clock(), {series for snapshot in self._snapshots for series in snapshot.used}
        idle = {
            series
            for series, at in self._used.items()
            if series not in living and series[0] not in CHOSEN and now - at > self._idle_seconds
        }
        if not idle or not self._idle_seconds:
            return
        self._used = {series: at for series, at in self._used.items() if series not in idle}
        for part in [part for part in self.began if part[:2] in idle]:
            del self.began[part]
        for family in chain.from_iterable(families.values() for families in self._left):
            for key in [key for key, sample in family.samples.items() if _series_of(sample) in idle]:
                del family.samples[key]
        self._named = {*CHOSEN, *(name for name, _ in self._used)}


def _forgotten(before: Snapshot, after: Snapshot) -> Families:
    """What a process had counted of series that it has forgotten since, also if it has them anew."""
    anew = {part for part, at in after.began.items() if at != before.began.get(part, at)}
    gone = {}
    for name, family in before.families.items():
        if _has_series(family) and name in after.families:
            still = after.families[name].samples.keys()
            samples = {k: x for k, x in family.samples.items() if k not in still or _series_of(x) in anew}
            gone[name] = family._replace(samples=samples)
    return {name: family for name, family in gone.items() if family.samples}


def _only(snapshot: Snapshot, names: set[str]) -> Snapshot:
    """A snapshot of the times of series of these names alone."""
    began = {part: at for part, at in snapshot.began.items() if part[0] in names}
    return Snapshot({}, began, {series: at for series, at in snapshot.used.items() if series[0] in names})


def _names_in(families: Families) -> set[str]:
    return {
        sample.labels["series"]
        for family in filter(_has_series, families.values())
        for sample in family.samples.values()
    }


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
        exemplars = [exemplar for exemplar in (before.exemplar, sample.exemplar) if exemplar is not None]
        latest = max(exemplars, key=lambda exemplar: exemplar.timestamp or 0.0, default=None)
        into[key] = before._replace(value=_together(family)(before.value, sample.value), exemplar=latest)


def _together(family: Family) -> Callable[[float, float], float]:
    if family.type == "info" or family.name == LIMITS or family.name.startswith(DEVICE):  # each process tells the same
        return max
    if family.name in run_gauges.GAUGES:  # of processes that know as many keys, one may know more of the end
        return max
    return min if family.type == "gauge" and family.name.endswith(MOMENTS) else operator.add
