"""Metrics of the connections that the server ends itself, since nothing else stops what comes over them."""

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter

EndReason = Literal["slow_reader", "memory", "resets"]


class ConnectionMetrics:
    """Counts connections that the server ended. May be used from any thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        ended = Counter(
            "losswire_connections_ended", "Connections that the server ended itself.", ["reason"], registry=registry
        )
        self._ended = {reason: ended.labels(reason) for reason in get_args(EndReason)}

    def count_ended(self, reason: EndReason) -> None:
        self._ended[reason].inc()


UNSEEN = ConnectionMetrics(CollectorRegistry())
