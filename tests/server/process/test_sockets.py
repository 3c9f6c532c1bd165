import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from losswire_server.process.sockets import Endpoint, Sockets, endpoint_of
from tests.helpers import eventually


@contextmanager
def listening(family: socket.AddressFamily, host: str) -> Iterator[tuple[socket.socket, Sockets]]:
    """A socket that listens as gRPC's do, and the connections to its port."""
    with socket.socket(family) as listener:
        if family is socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, 0))
        listener.listen()
        sockets = Sockets()
        sockets.port = listener.getsockname()[1]
        yield listener, sockets


@pytest.fixture
def served():
    with listening(socket.AF_INET, "127.0.0.1") as served:
        yield served


def connect(listener: socket.socket, host: str = "127.0.0.1") -> tuple[socket.socket, socket.socket, Endpoint]:
    """Both ends of a connection, and who calls."""
    caller = socket.create_connection((host, listener.getsockname()[1]), timeout=10)
    return caller, listener.accept()[0], Endpoint(host, caller.getsockname()[1])


@pytest.mark.parametrize(
    ("peer", "endpoint"),
    [
        ("ipv4:127.0.0.1:5", Endpoint("127.0.0.1", 5)),
        ("ipv6:[::1]:5", Endpoint("::1", 5)),
        ("ipv6:%5B::1%5D:5", Endpoint("::1", 5)),
        ("ipv6:[::ffff:10.0.0.7]:5", Endpoint("10.0.0.7", 5)),
        ("ipv6:[fe80::1%25eth0]:5", Endpoint("fe80::1", 5)),
        ("unix:/run/losswire.sock", None),
        ("unix:", None),
        ("ipv4:localhost:5", None),
        ("ipv4:127.0.0.1:", None),
        ("vsock:2:1", None),
        ("", None),
    ],
)
def test_endpoint_of_a_peer(peer, endpoint):
    assert endpoint_of(peer) == endpoint


@pytest.mark.parametrize(
    ("family", "bound", "host"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET6, "::", "127.0.0.1"),  # the kernel names the caller ::ffff:127.0.0.1
    ],
    ids=["IPv4", "IPv6", "IPv4 at a socket for both"],
)
def test_bytes_of_a_connection_are_counted(family, bound, host):
    with listening(family, bound) as (listener, sockets):
        caller, served, endpoint = connect(listener, host)
        with caller, served:
            assert sockets.received_bytes(endpoint) is None  # nobody has looked yet
            assert sockets.look() == {endpoint}
            assert sockets.received_bytes(endpoint) == 0
            caller.sendall(bytes(1000))
            eventually(lambda: sockets.received_bytes(endpoint) == 1000)
            served.recv(1000)
            caller.sendall(bytes(234))
            eventually(lambda: sockets.received_bytes(endpoint) == 1234)


def test_ended_connection_ends_for_its_caller(served):
    listener, sockets = served
    caller, accepted, endpoint = connect(listener)
    other, kept, stays = connect(listener)
    with caller, accepted, other, kept:
        assert not sockets.end(endpoint)
        sockets.look()
        assert sockets.end(endpoint)
        assert caller.recv(1) == b""
        assert accepted.fileno() >= 0  # it is its owner's to close
        other.sendall(b"x")
        assert kept.recv(1) == b"x"
        assert sockets.received_bytes(stays) == 1


def test_closed_descriptor_is_no_connection(served):
    listener, sockets = served
    caller, accepted, endpoint = connect(listener)
    with caller:
        sockets.look()
        accepted.close()
        assert sockets.received_bytes(endpoint) is None
        assert not sockets.end(endpoint)
        assert sockets.look() == set()


def test_descriptor_that_is_used_again_is_not_touched(served):
    listener, sockets = served
    caller, accepted, endpoint = connect(listener)
    other, another, stays = connect(listener)
    with caller, accepted, other, another:
        sockets.look()
        os.dup2(another.fileno(), accepted.fileno())  # gRPC closed it, and got the same number for another caller
        assert sockets.received_bytes(endpoint) is None
        assert not sockets.end(endpoint)
        other.sendall(b"x")
        assert another.recv(1) == b"x"
        assert sockets.look() == {stays}


def test_other_sockets_are_none_of_the_callers(served):
    listener, sockets = served
    with listening(socket.AF_INET, "127.0.0.1") as (elsewhere, _), socket.socket(socket.AF_UNIX) as unconnected:
        caller, accepted, _ = connect(elsewhere)
        with caller, accepted, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.1", 0))
            assert sockets.look() == set()
            assert unconnected.fileno() >= 0
    assert listener.fileno() >= 0


def test_looking_leaves_no_descriptors(served):
    listener, sockets = served
    caller, accepted, endpoint = connect(listener)
    with caller, accepted:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            sockets.look()
            sockets.received_bytes(endpoint)
            sockets.received_bytes(Endpoint("127.0.0.1", 1))
        assert len(os.listdir("/proc/self/fd")) == before


def test_file_under_a_number_that_was_a_connections_is_left_alone(served, tmp_path):
    listener, sockets = served
    caller, accepted, endpoint = connect(listener)
    with caller, accepted, (tmp_path / "file").open("w") as file:
        sockets.look()
        os.dup2(file.fileno(), accepted.fileno())  # gRPC closed it, and a file that was opened then got the number
        before = len(os.listdir("/proc/self/fd"))
        assert [sockets.received_bytes(endpoint) for _ in range(20)] == [None] * 20
        assert not sockets.end(endpoint)
        assert len(os.listdir("/proc/self/fd")) == before
