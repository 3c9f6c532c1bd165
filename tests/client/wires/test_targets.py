"""Addresses as users write them: the addresses that are dialled, and refusals that say what to write instead."""

from typing import Any

import pytest

from losswire_client import TLS, AsyncClient, Client, InvalidArgumentError
from losswire_client._wires import targets as _targets
from tests.client.wires.grpc_servers import answering


@pytest.mark.parametrize(
    ("target", "dialled"),
    [
        ("localhost", "localhost:50051"),
        ("localhost:1", "localhost:1"),
        (" losses.example ", "losses.example:50051"),
        ("127.0.0.1", "127.0.0.1:50051"),
        ("::1", "[::1]:50051"),
        ("[::1]", "[::1]:50051"),
        ("[::1]:443", "[::1]:443"),
        ("fe80::1%eth0", "[fe80::1%eth0]:50051"),
        ("dns:losses", "dns:losses:50051"),
        ("dns:///losses", "dns:///losses:50051"),
        ("dns:///losses:7", "dns:///losses:7"),
        ("dns:///::1", "dns:///[::1]:50051"),
        ("dns://8.8.8.8/losses", "dns://8.8.8.8/losses:50051"),
        ("ipv4:10.0.0.1", "10.0.0.1:50051"),
        ("ipv4:10.0.0.1:7,10.0.0.2", "10.0.0.1:7, 10.0.0.2:50051"),
        ("ipv6:::1", "[::1]:50051"),
        ("ipv6:[::1]:7,[::2]", "[::1]:7, [::2]:50051"),
        ("unix:/run/a socket", "unix:/run/a socket"),
        ("unix:///run/losswire.sock", "unix:///run/losswire.sock"),
        ("unix-abstract:losswire", "unix-abstract:losswire"),
        ("xds:///losses", "xds:///losses"),
        ("a,b:7, ::1", "a:50051, b:7, [::1]:50051"),
        (["a", "10.0.0.1"], "a:50051, 10.0.0.1:50051"),
        (("a",), "a:50051"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_port_is_50051_unless_another_is_said(kind, target, dialled, monkeypatch):
    assert kind(target).target == dialled
    assert kind(target, tls=True).target == dialled
    if isinstance(target, str):
        monkeypatch.setenv("LOSSWIRE_TARGET", target)
        assert kind().target == dialled


@pytest.mark.parametrize("target", ["localhost", "127.0.0.1", "dns:///localhost", ["localhost", "127.0.0.1"]])
def test_server_at_the_default_port_is_found(target, monkeypatch):
    with answering() as server:
        monkeypatch.setattr(_targets, "DEFAULT_PORT", int(server.target.rpartition(":")[2]))
        with Client(target) as client:
            assert client.cross_entropy([[0.5, 1.5]], [1]).row_count == 1


@pytest.mark.parametrize(
    ("target", "instead"),
    [
        ("http://localhost:50051", "no http://: write 'localhost:50051', got"),
        ("http://localhost", "no http://: write 'localhost:50051', got"),
        ("http://[::1]:7/losses?a=b", "no http://: write '[::1]:7', got"),
        ("http://", "no http://: write 'localhost:50051', got"),
        ("https://losses.example:7/", "no https://: write 'losses.example:7' and tls=True, got"),
        ("https://losses.example", "no https://: write 'losses.example:443' and tls=True, got"),
        ("HTTPS://me@[::1]", "no HTTPS://: write '[::1]:443' and tls=True, got"),
        ("grpc://losses:7", "no grpc://: write 'losses:7', got"),
        ("grpcs://losses", "no grpcs://: write 'losses:50051' and tls=True, got"),
        (["a:1", "http://b:1"], "no http://: write 'b:1', got 'http://b:1'"),
        ("dns:///http://b", "no http://: write 'b:50051', got 'http://b'"),
        ("::1:50051", "a host and a port, as in 'localhost:50051', or '[::1]:50051' with an address of IPv6 in"),
        ("[localhost]:1", "a host and a port"),
        (":50051", "a host and a port"),
        ("50051", "a host and a port"),
        ("localhost:", "a host and a port"),
        ("localhost:grpc", "a host and a port"),
        ("localhost:50051/losses", "a host and a port"),
        ("local host:1", "a host and a port"),
        ("dns:///", "a host and a port"),
        ("unix:/a,localhost:1", "a host and a port"),
        (["dns:///a", "b"], "a host and a port"),
        ("localhost:0", "a port from 1 to 65535, got 'localhost:0'"),
        ("localhost:65536", "a port from 1 to 65535"),
        ("", "an address, as in 'localhost:50051', or several, got ''"),
        ("localhost\n", "an address"),
        ("\ud800", "an address"),
        (",", "an address"),
        (50051, "an address, as in 'localhost:50051', or several, got 50051"),
        (b"localhost", "an address"),
        ([], "an address"),
        (["host:1", ""], "an address"),
    ],
)
def test_wrong_address_is_told_what_to_write(target, instead):
    every_options: tuple[dict[str, Any], ...] = ({}, {"tls": TLS()})
    for options in every_options:
        with pytest.raises(InvalidArgumentError) as raised:
            Client(target, **options)
        assert str(raised.value).startswith(f"target: expected {instead}")
        assert raised.value.argument == "target"
