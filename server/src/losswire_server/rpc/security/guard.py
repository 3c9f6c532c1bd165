"""Finds out who calls, from a call's metadata or its connection, before anything of its payload is read."""

import re
from typing import Any, NamedTuple, Protocol, TypeAlias

import grpc

from losswire_server.calls.limits import CallerLimits
from losswire_server.errors import UnauthenticatedError
from losswire_server.metrics.security import Refusal
from losswire_server.rpc.security.identity import Identity
from losswire_server.rpc.security.refusals import Refusals
from losswire_server.rpc.security.tokens import Tokens
from losswire_server.settings import Settings

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

BEARER = re.compile(r"bearer +([!-~]+) *", re.IGNORECASE)
PROBLEMS: dict[Refusal, str] = {
    "missing": "expected a token in the metadata `authorization: Bearer TOKEN`, got none",
    "malformed": "expected the metadata `authorization: Bearer TOKEN` once, got something else",
    "unknown": "expected a token that this server knows, got another one",
}


class Guard(Protocol):
    """Knows callers."""

    def identify(self, context: Context) -> Identity:
        """Who makes a call. It is asked once, at the call's start.

        Raises:
            UnauthenticatedError: That is not known, and must be.
        """


def guard_of(settings: Settings, tokens: Tokens | None, refusals: Refusals) -> Guard:
    """The guard for these settings. A token goes before a certificate."""
    if tokens is not None:
        return ByToken(tokens, refusals)
    limits = CallerLimits.of(settings)
    return ByConnection(limits) if settings.tls_client_ca is None else ByCertificate(limits)


class ByToken(NamedTuple):
    """Callers are their tokens' names."""

    tokens: Tokens
    refusals: Refusals

    def identify(self, context: Context) -> Identity:
        given = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        if not given:
            raise self._refuse("missing", context)
        bearer = BEARER.fullmatch(str(given[0])) if len(given) == 1 else None
        if bearer is None:
            raise self._refuse("malformed", context)
        identity = self.tokens.find(bearer[1])
        if identity is None:
            raise self._refuse("unknown", context)
        return identity

    def _refuse(self, reason: Refusal, context: Context) -> UnauthenticatedError:
        self.refusals.add(reason, context.peer())
        return UnauthenticatedError(PROBLEMS[reason])


class ByCertificate(NamedTuple):
    """Callers are the names in their certificates: the first alternative name, or the common name if there is none."""

    limits: CallerLimits

    def identify(self, context: Context) -> Identity:
        names = list(context.peer_identities() or ())
        if not names:
            raise UnauthenticatedError("expected a certificate with a name, got none")
        return Identity(names[0].decode(errors="replace"), self.limits)


class ByConnection(NamedTuple):
    """Callers are their connections: nobody says who they are."""

    limits: CallerLimits

    def identify(self, context: Context) -> Identity:
        return Identity(context.peer(), self.limits)
