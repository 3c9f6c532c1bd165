"""The server's certificate and key, and the authorities that vouch for callers. All are read again when replaced."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from losswire_server.process.rotating import Rotating
from losswire_server.settings import Settings
from losswire_server.settings.reading import WrongSettingsError

Key = EllipticCurvePrivateKey | RSAPrivateKey  # gRPC takes no others


class Certificates:
    """The files of TLS. Connections that exist keep what they began with.

    Args:
        settings: Which name the files.
        on_failure: Is called when new files turn out to be wrong.

    Raises:
        WrongSettingsError: A file is wrong.
    """

    def __init__(self, settings: Settings, on_failure: Callable[[], object] = lambda: None) -> None:
        named = (settings.tls_certificate, settings.tls_private_key, settings.tls_client_ca)
        files = [file for file in named if file is not None]
        self._rotating = Rotating("tls_certificate", files, partial(_read, settings), on_failure)
        self._given = self._rotating.current()

    @property
    def expires(self) -> float:
        """When the certificate in use, or one of its chain, expires, in Unix time."""
        return self._rotating.current().expires

    def credentials(self) -> grpc.ServerCredentials:
        """For a port. gRPC asks for the certificate at each new connection."""
        asks_callers = self._given.client_ca is not None
        return grpc.dynamic_ssl_server_credentials(
            self._given.configuration(),
            self._newer,  # type: ignore[arg-type] # it may return None, which the stubs do not know
            asks_callers,
        )

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        """What a new connection uses instead of what the last one used; None for the same. gRPC's threads call it."""
        given, self._given = self._given, self._rotating.current()
        return None if self._given is given else self._given.configuration()


class _Files(NamedTuple):
    """What the files say; a pair of a certificate and its key that belong together.

    Attributes:
        certificate: With its chain, PEM, like the others.
        key: Of the certificate.
        client_ca: Authorities that vouch for callers; None if callers need no certificate.
        expires: When the first certificate of the chain expires, in Unix time.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None
    expires: float

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.client_ca)


def _read(settings: Settings) -> _Files:
    certificate = _bytes("tls_certificate", settings.tls_certificate)
    key = _bytes("tls_private_key", settings.tls_private_key)
    client_ca = None if settings.tls_client_ca is None else _bytes("tls_client_ca", settings.tls_client_ca)
    chain = _certificates("tls_certificate", certificate)
    for one in chain:
        _check_validity(one)
    if _private_key(key).public_key() != chain[0].public_key():
        raise WrongSettingsError("tls_private_key: expected the key of tls_certificate, got another one")
    if client_ca is not None:
        _certificates("tls_client_ca", client_ca)
    return _Files(certificate, key, client_ca, min(one.not_valid_after_utc for one in chain).timestamp())


def _bytes(setting: str, file: Path | None) -> bytes:
    try:
        return Path(file or "").read_bytes()
    except (OSError, ValueError) as error:  # Python raises ValueError for a character that no path may have
        problem = error.strerror if isinstance(error, OSError) else error
        raise WrongSettingsError(f"{setting}: expected a file that can be read, got {str(file)!r}: {problem}") from None


def _certificates(setting: str, pem: bytes) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem)
        for one in found:
            one.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise WrongSettingsError(f"{setting}: expected certificates in PEM, got something else") from None
    return found


def _check_validity(certificate: x509.Certificate) -> None:
    now, begin, end = datetime.now(UTC), certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise WrongSettingsError(f"tls_certificate: expected one that is valid, got one that expired at {end}")
    if now < begin:
        raise WrongSettingsError(f"tls_certificate: expected one that is valid, got one that is not before {begin}")


def _private_key(pem: bytes) -> Key:
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise WrongSettingsError("tls_private_key: expected a key without a passphrase, got one with") from None
    except (ValueError, UnsupportedAlgorithm):
        raise WrongSettingsError("tls_private_key: expected a private key in PEM, got something else") from None
    if not isinstance(key, Key):
        raise WrongSettingsError(f"tls_private_key: expected an RSA or ECDSA key, got {type(key).__name__}")
    return key
