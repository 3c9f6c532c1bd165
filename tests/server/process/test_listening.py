import errno
import os
import socket

import pytest

from losswire_server.process.listening import Address, AddressError


def address(host: str, port: int = 0) -> Address:
    return Address(host, port, "host", "port")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "127.1"])
def test_own_addresses_can_be_listened_on(host):
    address(host).check()


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]", "::"])
def test_ipv6_needs_no_brackets(host):
    address(host).check()
    assert str(address(host, 5)) == f"[{host.strip('[]')}]:5"


@pytest.mark.parametrize(
    "host",
    ["999.1.1.1", "203.0.113.1", "no such host", "http://localhost", "a\0b", "a" * 300, "::g", "[::1", "1.2.3.4.5"],
)
def test_foreign_host_is_refused_by_name(host):
    if host == "[::1":
        address(host).check()  # brackets are taken off everywhere
        return
    with pytest.raises(AddressError) as refused:
        address(host).check()
    assert str(refused.value) == f"host: expected an address or a name of this machine, got {host!r}"


def test_taken_port_names_its_setting():
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(OSError, match=r"port: cannot listen") as raised,
    ):
        address("127.0.0.1", other.getsockname()[1]).check()
    assert raised.value.errno == errno.EADDRINUSE


def test_port_taken_at_one_address_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="is another server there"):
        address("localhost", other.getsockname()[1]).check()


def test_forbidden_port_is_refused(monkeypatch):
    def bind(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind)  # tests may run as a user who may bind any port
    with pytest.raises(AddressError, match=r"^port: expected one that this user may listen on, got 80$"):
        address("127.0.0.1", 80).check()


def test_lack_of_files_is_not_the_hosts_fault(monkeypatch):
    def listen(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "listen", listen)
    with pytest.raises(OSError, match=r"port: cannot listen on 127.0.0.1:0: Too many open files"):
        address("127.0.0.1").check()


def test_port_is_free_at_once_again():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            pass  # this leaves a connection in TIME_WAIT
    address("127.0.0.1", port).check()
