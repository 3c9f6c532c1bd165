"""Metrics of the processes of a server, and of the supervisor's own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector


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
        gauge = Gauge("losswire_processes", "Processes that serve.", registry=self.registry)
        gauge.set_function(serving)
        self._restarts = Counter(
            "losswire_process_restarts", "Processes started in place of ones that ended.", registry=self.registry
        )

    def count_restart(self) -> None:
        self._restarts.inc()
