"""Adds up what is evaluated, series by series, and shows it to Prometheus."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from itertools import takewhile

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from losswire.losses import LOSSES
from losswire_server.metrics.series.exposed import Values, exposed
from losswire_server.metrics.series.names import DEFAULT_SERIES, OTHER_SERIES
from losswire_server.metrics.series.sums import LossSums
from losswire_server.requests.ends import Evaluated

NEVER = 0.0

log = logging.getLogger(__name__)


class LossMetrics:
    """Adds up the losses and weights of evaluations. Use `count` in the event loop; other threads may collect.

    Readers compute means over any set of replicas and any time: ``sum by (series, loss)
    (rate(losswire_loss_sum_total[5m])) / sum by (series, loss) (rate(losswire_weight_sum_total[5m]))``. A gauge of
    means would average averages.

    Args:
        registry: Gets the metrics.
        max_series: The most names of series at a time; others are added up as `OTHER_SERIES`.
        idle_seconds: A series that is not evaluated for so long is forgotten, and its name is free; `NEVER` keeps all.
        clock: Gives seconds.

    Attributes:
        began: When each part of the metrics began, by the values of its labels, in seconds of the clock.
        used: When each series was last evaluated, by series and loss.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        max_series: int,
        idle_seconds: float = NEVER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.began: dict[tuple[str, ...], float] = {}
        self.used: dict[tuple[str, str], float] = {}
        self._by_use: dict[tuple[str, str], None] = {}  # the same, the longest idle first
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._max_series = max_series
        self._is_full = False
        self._named: set[str] = set()
        self._lock = threading.Lock()
        # A counter that Prometheus first sees above zero loses its first increase in every rate().
        self._sums = {(DEFAULT_SERIES, loss): LossSums.with_all_forms() for loss in LOSSES}
        registry.register(self)

    def count(self, evaluated: Evaluated) -> None:
        """Counts evaluations of one series."""
        labels, now = evaluated.labels, self._clock()
        with self._lock:
            key = self._series_label(labels.series, now), labels.loss
            form = labels.dtype, labels.transport
            self._by_use.pop(key, None)
            self._by_use[key] = None
            self.used[key] = now
            self.began.setdefault(key, now)  # before anything is added
            self.began.setdefault((*key, *form), now)
            sums = self._sums.get(key)
            if sums is None:
                sums = self._sums[key] = LossSums()
            sums.add(evaluated, form)

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            self._forget_idle(self._clock())
            all_sums, named = dict(self._sums), len(self._named)
        return iter(exposed({key: self._values(sums) for key, sums in all_sums.items()}, named))

    def describe(self) -> Iterator[Metric]:
        return iter(exposed({}, 0))

    def _values(self, sums: LossSums) -> Values:
        with self._lock:  # for each alone, since the event loop waits for it
            return Values.of(sums)

    def _series_label(self, name: str, now: float) -> str:
        if not name:
            return DEFAULT_SERIES
        if name in self._named or name in (DEFAULT_SERIES, OTHER_SERIES):
            return name
        if len(self._named) >= self._max_series:
            self._forget_idle(now)
        if len(self._named) >= self._max_series:
            if not self._is_full:
                log.warning("series limit reached: new names are added up as other", extra={"series": name})
            self._is_full = True
            return OTHER_SERIES
        self._is_full = False
        self._named.add(name)
        return name

    def _forget_idle(self, now: float) -> None:
        """Forgets series of callers' that none evaluates any more."""
        if self._idle_seconds == NEVER:
            return
        used = ((key, self.used[key]) for key in self._by_use)
        idle = takewhile(lambda key_at: now - key_at[1] > self._idle_seconds, used)
        for key in [key for key, _ in idle if key[0] in self._named]:
            self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        """Takes as long for a series among many as for the only one."""
        sums, name = self._sums.pop(key), key[0]
        del self.used[key], self._by_use[key]
        for part in (key, *((*key, *form) for form in sums.rows)):
            self.began.pop(part, None)
        if not any((name, loss) in self._sums for loss in LOSSES):
            self._named.remove(name)
