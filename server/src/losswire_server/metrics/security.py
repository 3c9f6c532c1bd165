"""Metrics of who may call: refused callers, and the files that say who they are."""

from collections.abc import Callable
from typing import Literal

from prometheus_client import CollectorRegistry

from losswire_server.metrics.instruments import by_value, counter, gauge

Refusal = Literal["missing", "malformed", "unknown"]
File = Literal["tls_certificate", "tokens"]
REFUSALS: tuple[Refusal, ...] = ("missing", "malformed", "unknown")
FILES: tuple[File, ...] = ("tls_certificate", "tokens")


class SecurityMetrics:
    """Counts calls that were refused since their callers are not known, and files that were replaced by wrong ones."""

    def __init__(self, registry: CollectorRegistry) -> None:
        refused, failed = "losswire_unauthenticated_calls_total", "losswire_failed_reloads_total"
        self._refused = by_value(counter(registry, refused), refused)
        self._failed = by_value(counter(registry, failed), failed)
        self._registry = registry

    def count_refused(self, reason: Refusal) -> None:
        self._refused[reason].inc()

    def count_failed_reload(self, file: File) -> None:
        self._failed[file].inc()

    def show_expiry(self, expires: Callable[[], float]) -> None:
        """Shows when the certificate in use expires, in Unix time."""
        gauge(self._registry, "losswire_certificate_expiry_timestamp_seconds").set_function(expires)
