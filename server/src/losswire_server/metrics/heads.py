"""Metrics of heads: how many are held, what they take, and what came of registrations."""

from prometheus_client import CollectorRegistry

from losswire_server.heads.observer import Outcome
from losswire_server.heads.registry import Heads
from losswire_server.metrics.instruments import by_value, counter, gauge


class HeadMetrics:
    """Counts what happens to heads. May be used from any thread. It is an `Observer` of them.

    Args:
        registry: Gets the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "losswire_head_registrations_total"
        self._registrations = by_value(counter(registry, name), name)
        self._evictions = counter(registry, "losswire_head_evictions_total")
        self._misses = counter(registry, "losswire_head_misses_total")
        self._gauges = [gauge(registry, f"losswire_{name}") for name in ("heads", "head_bytes", "head_limit_bytes")]

    def show(self, heads: Heads) -> None:
        """Shows what is held, at each scrape."""
        count, nbytes, limit = self._gauges
        count.set_function(lambda: heads.count)
        nbytes.set_function(lambda: heads.nbytes)
        limit.set(heads.max_bytes)

    def came(self, outcome: Outcome) -> None:
        self._registrations[outcome].inc()

    def evicted(self) -> None:
        self._evictions.inc()

    def missed(self) -> None:
        self._misses.inc()
