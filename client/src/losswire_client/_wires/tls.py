"""How a client and its server authenticate to each other."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from losswire_client._calls import checks_construction
from losswire_client._errors import invalid_argument, shown
from losswire_client._wires.files import check_path, read_file

StrPath = str | os.PathLike[str]


@checks_construction
@dataclass(frozen=True, kw_only=True)
class TLS:
    """How a client and its server authenticate to each other. Files are PEM, and may be replaced while the client runs.

    The server is Losswire's, or a proxy in front of it.

    Attributes:
        ca: File with the certificates of the authorities to trust; gRPC's own authorities if None.
        cert: File with the client's certificate and its chain, for a server that asks for one.
        key: File with the private key of `cert`.
        server_name: Name in the server's certificate, if it is not the name in the target.
    """

    ca: StrPath | None = None
    cert: StrPath | None = None
    key: StrPath | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        for name in ("ca", "cert", "key"):
            check_path(f"tls.{name}", getattr(self, name))
        if self.server_name is not None and not _is_name(self.server_name):
            raise invalid_argument("tls.server_name", f"expected a host's name, got {shown(self.server_name)}")
        if (self.cert is None) != (self.key is None):
            missing, given = ("key", "cert") if self.key is None else ("cert", "key")
            raise invalid_argument(f"tls.{missing}", f"expected a file, since tls.{given} is given; got None")

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(Path(file) for file in (self.ca, self.cert, self.key) if file is not None)

    def credentials(self) -> grpc.ChannelCredentials:
        """Reads the files.

        Raises:
            InvalidArgumentError: A file cannot be read, or does not contain what it should.
        """
        ca, key, cert = (
            None if file is None else read_file(f"tls.{name}", Path(file))
            for name, file in (("ca", self.ca), ("key", self.key), ("cert", self.cert))
        )
        # To gRPC a wrong file is a server that cannot be reached.
        for name, file, content in (("ca", self.ca, ca), ("cert", self.cert, cert)):
            if content is not None:
                _check_certificates(f"tls.{name}", file, content)
        if self.cert is not None and self.key is not None:
            _check_key(self.cert, self.key)
        return grpc.ssl_channel_credentials(ca, key, cert)


def _check_certificates(argument: str, file: StrPath | None, content: bytes) -> None:
    try:
        _context().load_verify_locations(cadata=content.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError) as error:
        problem = f"expected a file with certificates in PEM, got {str(file)!r}, which has none or a broken one"
        raise invalid_argument(argument, problem) from error


def _check_key(cert: StrPath, key: StrPath) -> None:
    try:
        _context().load_cert_chain(cert, key, password="")  # which gRPC does not ask for, either
    except ssl.SSLError as error:
        wanted = f"the private key of tls.cert, {str(cert)!r}"
        found = f"{str(key)!r}, which is of another certificate"
        if error.reason != "KEY_VALUES_MISMATCH":
            wanted, found = "a private key in PEM without a password", f"{str(key)!r}"
        raise invalid_argument("tls.key", f"expected {wanted}, got {found}") from error
    except OSError as error:  # it was there a moment ago
        raise invalid_argument("tls.key", f"expected a file that can be read, got {str(key)!r}: {error}") from error


def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isascii() and name.isprintable() and bool(name.strip())
