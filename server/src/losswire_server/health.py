"""``python -m losswire_server.health`` exits with 0 if the server says that it serves: for containers' checks.

It asks the server on this machine, by gRPC. With TLS it takes whatever certificate the server presents, since it sends
nothing that others may not see. Where callers need a certificate of their own, it asks the port of the metrics instead.
If that is turned off, it presents the server's certificate, which tls_client_ca must vouch for then.
"""

import socket
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from losswire_server.process.listening import Address
from losswire_server.settings import Settings
from losswire_server.settings.reading import WrongSettingsError, read_settings

LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to reach a server that listens on all interfaces
SECONDS = 2.0
HTTP_UNAVAILABLE = 503
OPTIONS = [("grpc.enable_http_proxy", 0)]  # this machine is another one to a proxy


def main() -> None:
    """Asks the server on this machine, at the address in the settings."""
    try:
        settings = read_settings([])
    except WrongSettingsError as error:
        sys.exit(str(error))
    try:
        serves = _asked_by_http(settings) if settings.tls_client_ca and settings.metrics else _asked_by_grpc(settings)
    except grpc.RpcError as error:
        sys.exit(f"no answer: {error.details()}")
    except (OSError, ValueError) as error:
        sys.exit(f"no answer: {error}")
    if not serves:
        sys.exit("not serving")


def _asked_by_grpc(settings: Settings) -> bool:
    address = _here(settings.host, settings.port)
    with _channel(settings, address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
    serving: bool = answer.status == health_pb2.HealthCheckResponse.SERVING
    return serving


def _asked_by_http(settings: Settings) -> bool:
    url = f"http://{_here(settings.metrics_host, settings.metrics_port)}/healthz"
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=SECONDS):
            return True
    except urllib.error.HTTPError as error:
        if error.code == HTTP_UNAVAILABLE:
            return False
        raise


def _channel(settings: Settings, address: Address) -> grpc.Channel:
    if not settings.has_tls:
        return grpc.insecure_channel(str(address), OPTIONS)
    pem, name = _presented(address)
    key = certificate = None
    if settings.tls_client_ca is not None:
        key, certificate = _contents(settings.tls_private_key), _contents(settings.tls_certificate)
    credentials = grpc.ssl_channel_credentials(pem, key, certificate)
    return grpc.secure_channel(str(address), credentials, [*OPTIONS, ("grpc.ssl_target_name_override", name)])


def _presented(address: Address) -> tuple[bytes, str]:
    """The certificate that the server presents, in PEM, and a name that is in it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((address.host.strip("[]"), address.port), SECONDS) as connection,
        context.wrap_socket(connection) as encrypted,
    ):
        der = encrypted.getpeercert(binary_form=True) or b""
    return ssl.DER_cert_to_PEM_cert(der).encode(), _name(der)


def _name(der: bytes) -> str:
    from cryptography import x509  # here, since a check without TLS needs none of it

    certificate = x509.load_der_x509_certificate(der)
    names: list[Any] = []
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names += extension.value.get_values_for_type(x509.DNSName)
            names += extension.value.get_values_for_type(x509.IPAddress)
    names += [name.value for name in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    return str(names[0]).replace("*", "any") if names else "localhost"


def _contents(file: Path | None) -> bytes:
    return Path(file or "").read_bytes()


def _here(host: str, port: int) -> Address:
    host = host.strip("[]")
    return Address(LOOPBACK.get(host, host), port, "host", "port")


if __name__ == "__main__":
    main()
