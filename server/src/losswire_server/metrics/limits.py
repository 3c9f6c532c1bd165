"""The limits, as metrics. Loads no torch: a supervisor reads them too."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from losswire_server.metrics.instruments import gauge

LIMITS = "losswire_limit"


def show_limits(registry: CollectorRegistry, limits: Mapping[str, float]) -> None:
    """Shows limits, which stay what they are while the server runs."""
    shown = gauge(registry, LIMITS)
    for name, limit in limits.items():
        shown.labels(name).set(limit)
