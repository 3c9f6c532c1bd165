"""Metrics of limits: what they are, and how often calls are refused for them."""

from collections.abc import Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge

from losswire_server.errors import Refusal, refusal_of

LIMITS = "losswire_limit"


def show_limits(registry: CollectorRegistry, limits: Mapping[str, float]) -> None:
    """Shows limits, which stay what they are while the server runs."""
    gauge = Gauge(LIMITS, "Limits that callers are told, of one process.", ["limit"], registry=registry)
    for name, limit in limits.items():
        gauge.labels(name).set(limit)


class RefusalMetrics:
    """Counts calls that are refused for a limit."""

    def __init__(self, registry: CollectorRegistry) -> None:
        refused = Counter("losswire_refused_calls", "Calls refused for a limit.", ["reason"], registry=registry)
        self._refused = {reason: refused.labels(reason) for reason in get_args(Refusal)}

    def count(self, error: Exception | None) -> None:
        """Counts a call that ended with an error, if that says that a limit was reached."""
        reason = refusal_of(error)
        if reason is not None:
            self._refused[reason].inc()
