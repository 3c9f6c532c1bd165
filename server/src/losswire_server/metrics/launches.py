"""Metrics of the engine's queue: what its launches take, and how long slabs wait for one."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Gauge, Histogram

ROWS = tuple(4.0**power for power in range(11))  # up to a million
REQUESTS = tuple(2.0**power for power in range(9))  # up to 256, the most in a message
SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
NOT_QUEUED = "Short requests that a CPU evaluates where they arrive are not queued, and not counted."


class LaunchMetrics:
    """Counts launches. May be used from any thread.

    Args:
        queued_rows: How many rows wait now, asked at each scrape.
    """

    def __init__(self, registry: CollectorRegistry, queued_rows: Callable[[], float]) -> None:
        self._rows = Histogram(
            "losswire_launch_rows", f"Rows of a launch. {NOT_QUEUED}", buckets=ROWS, registry=registry
        )
        self._requests = Histogram(
            "losswire_launch_requests",
            f"Requests whose rows are in a launch. {NOT_QUEUED}",
            buckets=REQUESTS,
            registry=registry,
        )
        self._seconds = Histogram(
            "losswire_queue_seconds",
            f"Time that a slab waited for its launch. {NOT_QUEUED}",
            buckets=SECONDS,
            registry=registry,
        )
        gauge = Gauge("losswire_queued_rows", "Rows that wait for a launch.", registry=registry)
        gauge.set_function(queued_rows)

    def count(self, rows: int, requests: int, waited_seconds: Sequence[float]) -> None:
        """Counts a launch of slabs that waited so long."""
        self._rows.observe(rows)
        self._requests.observe(requests)
        for seconds in waited_seconds:
            self._seconds.observe(seconds)
