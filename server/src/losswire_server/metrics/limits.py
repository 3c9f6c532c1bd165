"""The limits, as metrics. Loads no torch: a supervisor reads them too."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

LIMITS = "losswire_limit"


def show_limits(registry: CollectorRegistry, limits: Mapping[str, float]) -> None:
    """Shows limits, which stay what they are while the server runs."""
    gauge = Gauge(LIMITS, "Limits that callers are told, of one process.", ["limit"], registry=registry)
    for name, limit in limits.items():
        gauge.labels(name).set(limit)
