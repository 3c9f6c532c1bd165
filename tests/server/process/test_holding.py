"""The port of several processes, held so that no other server gets it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from losswire_server.process.holding import held
from losswire_server.process.listening import Address, AddressError


def address(port: int, host: str = "127.0.0.1") -> Address:
    return Address(host, port, "host", "port")


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """As a process of the server."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield listener


def assert_taken(port: int) -> None:
    for take in (address(port).check, held(address(port)).__enter__):
        with pytest.raises(OSError, match=f"port: cannot listen on 127.0.0.1:{port}; is another server there"):
            take()


def test_held_port_is_refused_to_other_servers():
    with held(address(0)) as port:
        assert port > 0
        assert_taken(port)
        with listening(port), listening(port):
            assert_taken(port)
        assert_taken(port)
    address(port).check()


def test_held_port_takes_no_connections():
    with held(address(0)) as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with listening(port) as listener:
            for _ in range(20):  # each goes to the one that listens
                with socket.create_connection(("127.0.0.1", port), timeout=5):
                    listener.settimeout(5)
                    listener.accept()[0].close()


def test_port_of_a_server_cannot_be_held():
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert_taken(other.getsockname()[1])


def test_port_can_be_held_right_after_a_server():
    """Its closed connections still have the port, for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()  # whoever closes first is left with the port
            assert client.recv(1) == b""
    with held(address(port)) as same:
        assert same == port


def test_all_addresses_of_a_name_are_held():
    with held(address(0, "localhost")) as port:
        for family, bound in address(port, "localhost").resolve():
            with socket.socket(family) as other, pytest.raises(OSError, match="in use"):
                other.bind(bound)


def test_wrong_host_is_told():
    with pytest.raises(AddressError, match=r"host: expected an address or a name of this machine, got '203.0.113.1'"):
        held(address(0, "203.0.113.1")).__enter__()


def test_errors_within_are_not_about_the_address():
    with pytest.raises(OSError, match=r"^disk full$"), held(address(0)):
        raise OSError("disk full")
