"""How often calls are refused for a limit."""

from typing import get_args

from prometheus_client import CollectorRegistry, Counter

from losswire_server.errors import Refusal, refusal_of


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
