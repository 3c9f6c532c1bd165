"""How a client and its server authenticate to each other."""

import os
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
            InvalidArgumentError: A file cannot be read.
        """
        ca, key, cert = (
            None if file is None else read_file(f"tls.{name}", Path(file))
            for name, file in (("ca", self.ca), ("key", self.key), ("cert", self.cert))
        )
        return grpc.ssl_channel_credentials(ca, key, cert)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.isascii() and name.isprintable() and bool(name.strip())
