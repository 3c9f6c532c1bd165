"""Metrics of who may call: refused callers, and the files that say who they are."""

from collections.abc import Callable
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge

Refusal = Literal["missing", "malformed", "unknown"]
File = Literal["tls_certificate", "tokens"]
REFUSALS: tuple[Refusal, ...] = ("missing", "malformed", "unknown")
FILES: tuple[File, ...] = ("tls_certificate", "tokens")


class SecurityMetrics:
    """Counts calls that were refused since their callers are not known, and files that were replaced by wrong ones."""

    def __init__(self, registry: CollectorRegistry) -> None:
        refused = Counter(
            "losswire_unauthenticated_calls", "Calls refused for their token.", ["reason"], registry=registry
        )
        failed = Counter(
            "losswire_failed_reloads", "Replaced files that are wrong; the old ones stay.", ["file"], registry=registry
        )
        self._refused = {reason: refused.labels(reason) for reason in REFUSALS}
        self._failed = {file: failed.labels(file) for file in FILES}
        self._registry = registry

    def count_refused(self, reason: Refusal) -> None:
        self._refused[reason].inc()

    def count_failed_reload(self, file: File) -> None:
        self._failed[file].inc()

    def show_expiry(self, expires: Callable[[], float]) -> None:
        """Shows when the certificate in use expires, in Unix time."""
        gauge = Gauge(
            "losswire_certificate_expiry_timestamp_seconds",
            "When the certificate in use, or one of its chain, expires.",
            registry=self._registry,
        )
        gauge.set_function(expires)
