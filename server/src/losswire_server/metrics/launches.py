"""Metrics of the engine's queue, and of what its launches take from it."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from losswire_server.metrics.instruments import counter, gauge, histogram


class LaunchMetrics:
    """Counts launches. May be used from any thread.

    Args:
        registry: Gets the metrics.
        queued_rows: How many rows wait now, asked at each scrape.
        limit_rows: How many may wait.
    """

    def __init__(self, registry: CollectorRegistry, queued_rows: Callable[[], float], limit_rows: float) -> None:
        self._rows = histogram(registry, "losswire_launch_rows")
        self._requests = histogram(registry, "losswire_launch_requests")
        self._retries = counter(registry, "losswire_launch_retries_total")
        gauge(registry, "losswire_queued_rows").set_function(queued_rows)
        gauge(registry, "losswire_queue_limit_rows").set(limit_rows)

    def count(self, rows: int, requests: int) -> None:
        """Counts a launch."""
        self._rows.observe(rows)
        self._requests.observe(requests)

    def count_retry(self) -> None:
        """Counts a launch of several slabs that are evaluated again, one by one."""
        self._retries.inc()
