"""Metrics over HTTP. Prometheus sees a new series at 0 once, before it sees the sums in it.

A counter that Prometheus first sees above zero loses its first increase in every ``rate()``, and a series that is
evaluated once has no other increase. Scrapers are told apart by address, name and query, so that each of them sees the
0.
People, and programs that do not scrape, such as ``curl`` and ``losswire top``, always see the sums.
"""

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

SCRAPER = "HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS"  # header of Prometheus, and of agents that are built on it
IDENTITY = ("REMOTE_ADDR", "HTTP_USER_AGENT", "QUERY_STRING")  # a scraper may ask for some metrics now, and others then
NO_VERSION = re.compile(r";\s*version=(?!\d{1,9}(\.\d{1,9})*\s*([;,]|$))[^;,]*", re.ASCII)
NEW_SECONDS = 300.0  # longer than any time between two scrapes; an older series is shown as it is
MAX_SCRAPERS = 100

Key = tuple[str, ...]  # series and loss, and then dtype and transport where a metric has them
KEY_LABELS = ("series", "loss", "dtype", "transport")
COUNTED = ("_total", "_bucket", "_count")  # ends of names of samples that only grow


class Scrapes:
    """A WSGI application.

    Args:
        registry: The metrics to show.
        began: When each part of the metrics by series began, in seconds of the clock.

    Attributes:
        began: As given.
    """

    def __init__(
        self, registry: CollectorRegistry, began: Mapping[Key, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self.began = began
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, Collection[Key]]] = {}  # each scraper's last time, and the series seen

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        shown: Any = self._registry
        if SCRAPER in environ:
            scraper = " ".join(str(environ.get(name)) for name in IDENTITY)
            shown = _NewAtZero(self._registry, self._settled(scraper))
        app: WSGIApplication = make_wsgi_app(shown)
        accepted = NO_VERSION.sub(
            "", environ.get("HTTP_ACCEPT", "")
        )  # of which the library makes a fault of the server
        return app({**environ, "HTTP_ACCEPT": accepted}, start_response)

    def _settled(self, scraper: str) -> Collection[Key]:
        """The series that a scraper sees as they are. It sees all other series at 0 now, and as they are next time."""
        now, began = self._clock(), dict(self.began)
        new = {key for key, at in began.items() if now - at < NEW_SECONDS}
        with self._lock:
            # A scraper that has not come for so long has seen no series that is still new.
            self._seen = {name: seen for name, seen in self._seen.items() if now - seen[0] < NEW_SECONDS}
            _, seen = self._seen.get(scraper, (now, ()))
            if scraper not in self._seen and len(self._seen) == MAX_SCRAPERS:
                return began
            self._seen[scraper] = now, new
        return (began.keys() - new) | new.intersection(seen)


class _NewAtZero:
    """A registry that shows series at 0 unless they are settled, also series that begin while it is read."""

    def __init__(self, registry: CollectorRegistry, settled: Collection[Key]) -> None:
        self._registry = registry
        self._settled = settled

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [self._shown(sample) for sample in metric.samples]
            yield metric

    def restricted_registry(self, names: Iterable[str]) -> "_NewAtZero":
        return _NewAtZero(self._registry.restricted_registry(names), self._settled)  # type: ignore[arg-type]

    def _shown(self, sample: Sample) -> Sample:
        labels = sample.labels
        if "series" not in labels or not sample.name.endswith(COUNTED):
            return sample
        key = tuple([labels[name] for name in KEY_LABELS if name in labels])
        return sample if key in self._settled else sample._replace(value=0.0)
