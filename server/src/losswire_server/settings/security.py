"""Who may call, and what of a call others can read."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator
from pydantic_settings import CliImplicitFlag

from losswire_server.settings.types import Group


class Security(Group):
    """Who may call, and what of a call others can read."""

    tls_certificate: Path | None = None
    """PEM file with the server's certificate and its chain. It and its key may be replaced while the server runs."""

    tls_private_key: Path | None = None
    """PEM file with the private key of tls_certificate, without a passphrase."""

    tls_client_ca: Path | None = None
    """PEM file of the authorities whose certificates callers must have; unset, callers need none."""

    tokens: Path | None = None
    """TOML file with hashes of callers' tokens, which may be replaced; `python -m losswire_server.token` makes one."""

    insecure: CliImplicitFlag[bool] = False
    """Serve beyond this machine although callers are not encrypted or not known. For networks of your own."""

    reflection: Literal["auto", "on", "off"] = "auto"
    """Whether callers may ask for the contract; `auto` lets them if the service listens on loopback alone."""

    @model_validator(mode="after")
    def _key_and_certificate_go_together(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_private_key is None):
            missing, given = "tls_private_key", "tls_certificate"
            if self.tls_certificate is None:
                missing, given = given, missing
            raise ValueError(f"{missing}: expected a file, since {given} is given")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_certificate: expected a file, since tls_client_ca is given")
        return self

    @property
    def has_tls(self) -> bool:
        """Whether calls are encrypted."""
        return self.tls_certificate is not None

    @property
    def knows_callers(self) -> bool:
        """Whether callers must say who they are, by a token or a certificate."""
        return self.tokens is not None or self.tls_client_ca is not None
