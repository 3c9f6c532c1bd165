"""How often calls are refused for a limit."""

from prometheus_client import CollectorRegistry

from losswire_server.errors import refusal_of
from losswire_server.metrics.instruments import by_value, counter


class RefusalMetrics:
    """Counts calls that are refused for a limit."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "losswire_refused_calls_total"
        self._refused = by_value(counter(registry, name), name)

    def count(self, error: Exception | None) -> None:
        """Counts a call that ended with an error, if that says that a limit was reached."""
        reason = refusal_of(error)
        if reason is not None:
            self._refused[reason].inc()
