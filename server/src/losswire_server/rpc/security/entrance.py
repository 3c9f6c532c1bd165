"""How the service is entered, as the settings say: by which certificates, by which callers, and what they may ask."""

import logging
from functools import partial

import grpc
from prometheus_client import CollectorRegistry

from losswire_server.metrics.security import SecurityMetrics
from losswire_server.process.exposure import is_exposed, missing_protection
from losswire_server.rpc.security.certificates import Certificates
from losswire_server.rpc.security.guard import guard_of
from losswire_server.rpc.security.refusals import Refusals
from losswire_server.rpc.security.tokens import Tokens
from losswire_server.settings import Settings

log = logging.getLogger(__name__)


class Entrance:
    """Certificates and tokens, read once and again when they are replaced.

    Attributes:
        guard: Knows callers.

    Raises:
        WrongSettingsError: A file is wrong.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        metrics = SecurityMetrics(registry)
        self._settings = settings
        self._certificates = _certificates(settings, metrics)
        tokens = None
        if settings.tokens is not None:
            tokens = Tokens(settings.tokens, settings, partial(metrics.count_failed_reload, "tokens"))
        self.guard = guard_of(settings, tokens, Refusals(metrics))

    @property
    def credentials(self) -> grpc.ServerCredentials | None:
        """For the port; None for plain text."""
        return self._certificates.credentials() if self._certificates else None

    @property
    def tells_contract(self) -> bool:
        """Whether callers may ask for the contract by reflection."""
        chosen = self._settings.reflection
        return chosen == "on" or (chosen == "auto" and not is_exposed(self._settings))

    @property
    def told(self) -> dict[str, object]:
        """What the log says of it."""
        if self._settings.tokens is not None:
            callers = "tokens"
        else:
            callers = "anybody" if self._settings.tls_client_ca is None else "certificates"
        return {"tls": self._settings.has_tls, "callers": callers}

    def warn(self) -> None:
        """Says so in the log if other machines can call in plain text, or whoever they are, as the settings want it."""
        if missing := missing_protection(self._settings):
            log.warning("open to other machines", extra={"host": self._settings.host, "missing": ", ".join(missing)})


def _certificates(settings: Settings, metrics: SecurityMetrics) -> Certificates | None:
    if not settings.has_tls:
        return None
    certificates = Certificates(settings, partial(metrics.count_failed_reload, "tls_certificate"))
    metrics.show_expiry(lambda: certificates.expires)
    return certificates
