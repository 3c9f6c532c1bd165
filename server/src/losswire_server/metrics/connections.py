"""Metrics of the connections that the server ends itself, since nothing else stops what comes over them."""

from typing import Literal

from prometheus_client import CollectorRegistry

from losswire_server.metrics.instruments import by_value, counter

EndReason = Literal["slow_reader", "memory", "resets"]


class ConnectionMetrics:
    """Counts connections that the server ended. May be used from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "losswire_connections_ended_total"
        self._ended = by_value(counter(registry, name), name)

    def count_ended(self, reason: EndReason) -> None:
        self._ended[reason].inc()


UNSEEN = ConnectionMetrics(CollectorRegistry())
