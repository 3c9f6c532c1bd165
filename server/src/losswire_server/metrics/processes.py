"""Metrics of the processes of a server, and of the supervisor's own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, ProcessCollector

from losswire_server.metrics.instruments import counter, gauge


class ProcessMetrics:
    """Counts processes.

    Args:
        serving: How many processes serve, asked at each scrape.

    Attributes:
        registry: Has these metrics, and the time and memory of the process that counts.
    """

    def __init__(self, serving: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        gauge(self.registry, "losswire_processes").set_function(serving)
        self._restarts = counter(self.registry, "losswire_process_restarts_total")

    def count_restart(self) -> None:
        self._restarts.inc()
