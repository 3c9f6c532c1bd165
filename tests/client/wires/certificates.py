"""Certificates for tests: an authority, and the certificates that it gives to a server and a client."""

from pathlib import Path
from typing import Any

import grpc
import trustme

from losswire_client import (
    TLS,
)


def write(folder: Path, authority: trustme.CA, *names: str) -> TLS:
    """The files of a caller or a server."""
    issued = authority.issue_cert(*names)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    return TLS(ca=folder / "ca.pem", cert=folder / "cert.pem", key=folder / "key.pem")


def server_credentials(
    authority: trustme.CA, *names: str, asks: bool = False, **options: Any
) -> grpc.ServerCredentials:
    issued = authority.issue_cert(*names, **options)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    trusted = authority.cert_pem.bytes() if asks else None
    return grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)], trusted, asks)
