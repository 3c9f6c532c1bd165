"""The health check of containers, through every kind of encryption."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from losswire_server import Server, health
from tests.helpers import serving
from tests.server.secured import replace, write_certificate, write_client_ca, write_tokens


@pytest.fixture
def check(monkeypatch):
    """Checks a server of these settings, as its variables say them; returns what it says, nothing if all is well."""

    def run(server: Server | None, **settings: Any) -> str:
        ports = {"port": server.port, "metrics_port": server.metrics_port} if server else {"port": 1, "metrics_port": 2}
        for name, value in (settings | ports).items():
            monkeypatch.setenv(f"LOSSWIRE_{name.upper()}", str(value))
        try:
            health.main()
        except SystemExit as ended:
            return str(ended.code)
        return ""

    return run


def encrypted(folder: Path) -> dict[str, Any]:
    return {**write_certificate(folder, trustme.CA()), **write_tokens(folder, team="secret")}


def mutual(folder: Path) -> dict[str, Any]:
    return encrypted(folder) | write_client_ca(folder, trustme.CA())  # which the server's own is not of


def mutual_without_metrics(folder: Path) -> dict[str, Any]:
    authority = trustme.CA()
    files = write_certificate(folder, authority) | write_client_ca(folder, authority)
    return {**files, "metrics": False}


@contextmanager
def draining(server: Server) -> Iterator[None]:
    """The server says that it does not serve, and answers."""
    leaving = asyncio.run_coroutine_threadsafe(server._health.enter_graceful_shutdown(), server._loop)
    leaving.result(20)
    server._serving = False
    yield


@pytest.mark.parametrize("protection", [dict, encrypted, mutual, mutual_without_metrics])
def test_check_passes_while_the_server_serves(protection, tmp_path, check):
    settings = protection(tmp_path) if protection is not dict else {}
    with serving(**settings) as server:
        assert check(server, **settings) == ""
        with draining(server):
            assert check(server, **settings) == "not serving"


@pytest.mark.parametrize("names", [("losses.example",), ("*.losses.example",), ("10.0.0.1",), ("::1", "a.example")])
def test_certificate_may_have_any_name(names, tmp_path, check):
    files = write_certificate(tmp_path, trustme.CA(), *names)
    with serving(**files) as server:
        assert check(server, **files) == ""


def test_check_passes_while_a_new_certificate_is_wrong(tmp_path, check):
    files = write_certificate(tmp_path, trustme.CA())
    with serving(**files) as server:
        replace(files["tls_certificate"], b"half")
        assert check(server, **files) == ""


@pytest.mark.parametrize("protection", [dict, encrypted, mutual, mutual_without_metrics])
def test_check_needs_a_server(protection, tmp_path, check):
    settings = protection(tmp_path) if protection is not dict else {}
    said = check(None, **settings)
    assert said.startswith("no answer: ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("protection", [encrypted, mutual])
def test_check_uses_no_proxy(protection, tmp_path, check, monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    settings = protection(tmp_path)
    with serving(**settings) as server:
        assert check(server, **settings) == ""
