"""Callers of secured servers."""

import ssl
from typing import Any

import numpy as np
from cryptography import x509

from losswire_client import TLS, Client, UnavailableError
from losswire_server import Server
from tests.server.secured import HOST

LOGITS, TARGET = np.array([[0.5, 1.5, -1.0]], np.float32), [1]


def client(server: Server, tls: TLS | None = None, **options: Any) -> Client:
    return Client(f"{HOST}:{server.port}", tls=tls, retry=None, timeout=20, **options)


def evaluates(server: Server, tls: TLS | None = None, **options: Any) -> bool:
    """Whether a new client, with a new connection, is answered."""
    with client(server, tls, **options) as connected:
        try:
            return connected.cross_entropy(LOGITS, TARGET).row_count == 1
        except UnavailableError:
            return False


def presented(server: Server) -> int:
    """The serial number of the certificate that a new connection sees."""
    pem = ssl.get_server_certificate(("127.0.0.1", server.port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def metric(server: Server, name: str, **labels: str) -> float:
    return server.registry.get_sample_value(name, labels) or 0.0
