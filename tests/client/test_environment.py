"""The values that a client takes from the environment."""

from typing import Any

import numpy as np
import pytest
import trustme

from losswire_client import AsyncClient, Client, InvalidArgumentError
from tests.client.wires.certificates import server_credentials, write
from tests.client.wires.grpc_servers import answering

SMALL = np.array([[0.5, 1.5, -1.0]], np.float32), [1]


def test_bare_client_finds_its_server(monkeypatch):
    with answering() as server:
        monkeypatch.setenv("LOSSWIRE_TARGET", server.target)
        monkeypatch.setenv("LOSSWIRE_TOKEN", "secret")
        with Client() as client:
            assert client.cross_entropy(*SMALL).row_count == 1
        with Client(token="other") as client:
            assert client.cross_entropy(*SMALL).row_count == 1
    assert server.tokens == ["Bearer secret", "Bearer other"]


def test_file_of_a_token_wins_over_a_token(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("LOSSWIRE_TOKEN", "secret")
    monkeypatch.setenv("LOSSWIRE_TOKEN_FILE", str(tmp_path / "token"))
    with answering() as server, Client(server.target) as client:
        client.cross_entropy(*SMALL)
    assert server.tokens == ["Bearer from-file"]


def test_files_of_certificates_are_taken(monkeypatch, tmp_path):
    authority = trustme.CA()
    tls = write(tmp_path, authority, "caller")
    with answering("127.0.0.1:0", server_credentials(authority, "losses.example", asks=True)) as server:
        for name in ("ca", "cert", "key"):
            monkeypatch.setenv(f"LOSSWIRE_TLS_{name.upper()}", str(getattr(tls, name)))
        monkeypatch.setenv("LOSSWIRE_TLS_SERVER_NAME", "losses.example")
        every_options: tuple[dict[str, Any], ...] = ({}, {"tls": True})
        for options in every_options:
            with Client(server.target, **options) as client:
                assert client.cross_entropy(*SMALL).row_count == 1
        assert Client(server.target, tls=False)._endpoint._tls is None


@pytest.mark.parametrize(("text", "encrypts"), [("1", True), ("on", True), ("0", False), ("FALSE", False), ("", False)])
def test_encryption_may_be_switched_on(monkeypatch, text, encrypts):
    monkeypatch.setenv("LOSSWIRE_TLS", text)
    assert (Client()._endpoint._tls is not None) == encrypts


def test_other_settings_are_taken(monkeypatch):
    assert (Client()._endpoint.name, Client()._timeout, Client()._transport) == ("localhost:50051", 60, "auto")
    for name, text in {"TARGET": "a:1,b:2", "TIMEOUT": "2.5", "TRANSPORT": "stream"}.items():
        monkeypatch.setenv(f"LOSSWIRE_{name}", text)
    for client in (Client(), AsyncClient()):
        assert (client._endpoint.name, client._timeout, client._transport) == ("a:1, b:2", 2.5, "stream")
    assert Client("c:3", timeout=1, transport="unary")._endpoint.name == "c:3"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("LOSSWIRE_TIMEOUT", "soon", "LOSSWIRE_TIMEOUT: expected a number of seconds, got 'soon'"),
        ("LOSSWIRE_TLS", "maybe", "LOSSWIRE_TLS: expected one of 1, true, .*, got 'maybe'"),
        ("LOSSWIRE_TRANSPORT", "pigeon", "transport: expected one of 'auto', .*, got 'pigeon'"),
        ("LOSSWIRE_TARGET", ",", "target: expected an address"),
        ("LOSSWIRE_TOKEN_FILE", "no/such", "token: expected a file that can be read, got 'no/such'"),
    ],
)
def test_wrong_variable_is_told_by_its_name(monkeypatch, name, text, message):
    monkeypatch.setenv(name, text)
    with pytest.raises(InvalidArgumentError, match=message):
        Client()
