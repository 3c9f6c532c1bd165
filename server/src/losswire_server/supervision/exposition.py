"""The metrics of all processes at one endpoint."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, cast
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from losswire_server.metrics.scrapes import Scrapes
from losswire_server.supervision.ledger import Families
from losswire_server.supervision.snapshot import Part

ANSWER_SECONDS = 5.0  # less than a scrape may take, even if the event loop is held up


class Exposition:
    """A WSGI application, which threads call.

    Args:
        loop: The supervisor's event loop.
        collect: Gives the metrics of all processes in that loop.
        began: When each part of the metrics by series began.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        collect: Callable[[], Coroutine[Any, Any, Families]],
        began: Mapping[Part, float],
    ) -> None:
        self._loop = loop
        self._collect = collect
        self._latest: Families = {}
        self._scrapes = Scrapes(cast(CollectorRegistry, _Registry(lambda: self._latest)), began)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        collecting = asyncio.run_coroutine_threadsafe(self._collect(), self._loop)
        self._latest = collecting.result(ANSWER_SECONDS)  # of now, so that every series in them is known to have begun
        return self._scrapes(environ, start_response)


class _Registry:
    """As much of a `prometheus_client.CollectorRegistry` as `Scrapes` uses."""

    def __init__(self, families: Callable[[], Families], names: Iterable[str] | None = None) -> None:
        self._families = families
        self._names = None if names is None else frozenset(names)

    def collect(self) -> Iterator[Metric]:
        metrics = (family.metric(self._names) for family in self._families().values())
        return (metric for metric in metrics if metric.samples or self._names is None)

    def restricted_registry(self, names: Iterable[str]) -> "_Registry":
        return _Registry(self._families, names)
