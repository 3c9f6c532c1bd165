"""Values from the environment for arguments that a client was not given."""

import os
from collections.abc import Sequence
from pathlib import Path

from losswire_client._deadline import DEFAULT_TIMEOUT
from losswire_client._errors import invalid_argument
from losswire_client._wires.tls import TLS

DEFAULT_TARGET = "localhost:50051"
FALSE, TRUE = ("0", "false", "no", "off"), ("1", "true", "yes", "on")


def target_or_default(target: str | Sequence[str] | None) -> str | Sequence[str]:
    return os.environ.get("LOSSWIRE_TARGET", DEFAULT_TARGET) if target is None else target


def timeout_or_default(timeout: float | None) -> float:
    if timeout is not None:
        return timeout
    text = os.environ.get("LOSSWIRE_TIMEOUT")
    try:
        return DEFAULT_TIMEOUT if text is None else float(text)
    except ValueError as error:
        raise invalid_argument("LOSSWIRE_TIMEOUT", f"expected a number of seconds, got {text!r}") from error


def transport_or_default(transport: str | None) -> str:
    return os.environ.get("LOSSWIRE_TRANSPORT", "auto") if transport is None else transport


def token_or_default(token: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
    if token is not None:
        return token
    file = os.environ.get("LOSSWIRE_TOKEN_FILE")
    return Path(file) if file else os.environ.get("LOSSWIRE_TOKEN") or None


def tls_or_default(tls: bool | TLS | None) -> TLS | None:
    """TLS if ``LOSSWIRE_TLS`` says so, or if the variable of any file is set."""
    if isinstance(tls, TLS):
        return tls
    given = tls_given()
    wanted = _flag("LOSSWIRE_TLS", default=bool(given)) if tls is None else tls
    return TLS(**given) if wanted else None


def tls_given() -> dict[str, str]:
    """The arguments of `TLS` that have a variable."""
    names = ("ca", "cert", "key", "server_name")
    return {name: value for name in names if (value := os.environ.get(f"LOSSWIRE_TLS_{name.upper()}"))}


def _flag(variable: str, *, default: bool) -> bool:
    text = os.environ.get(variable, "").lower()
    if text and text not in FALSE + TRUE:
        raise invalid_argument(variable, f"expected one of {', '.join(TRUE + FALSE)}, got {text!r}")
    return text in TRUE if text else default
