"""The connections that callers have with this process: how many bytes came over each, and how to end one.

gRPC does not say how much of a message has arrived, and grpcio gives no access to gRPC's resource quota. The kernel
counts the bytes of each connection: see TCP_INFO in tcp(7). Only Linux tells.
"""

import os
import socket
import struct
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

TCP_INFO_BYTES_RECEIVED = 128  # offset of `tcpi_bytes_received`, 64 bits, in Linux's struct tcp_info
DESCRIPTORS = Path("/proc/self/fd")


class Endpoint(NamedTuple):
    """One end of a connection."""

    ip: str
    port: int


def endpoint_of(peer: str) -> Endpoint | None:
    """The endpoint of a peer as gRPC names it: ``ipv4:127.0.0.1:5``, ``ipv6:[::1]:5``. None for other kinds of peer."""
    kind, _, address = unquote(peer).partition(":")
    host, _, port = address.rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdecimal():
        return None
    try:
        return _endpoint(host.strip("[]"), int(port))
    except ValueError:
        return None


def _endpoint(host: str, port: int) -> Endpoint:
    ip = ip_address(host.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None  # an IPv4 caller at a socket for both versions
    return Endpoint(str(mapped or ip), port)


class Sockets:
    """Connections to one port of this process. May be used from any thread.

    gRPC owns the sockets and may close one at any time, so a descriptor is checked at each use.

    Attributes:
        port: The port; none is found before it is set.
    """

    def __init__(self) -> None:
        self.port = 0
        self._connections: dict[Endpoint, _Connection] = {}

    def look(self) -> set[Endpoint]:
        """Finds the connections that there are now. Takes some microseconds for each open file."""
        found: dict[Endpoint, _Connection] = {}
        with suppress(OSError):
            for name in os.listdir(DESCRIPTORS):
                connection = self._connection(int(name))
                if connection is not None:
                    found[_endpoint(*connection.peer[:2])] = connection
        self._connections = found
        return set(found)

    def received_bytes(self, peer: Endpoint) -> int | None:
        """The bytes that came over a connection since its start; None unless `look` has found it."""
        with suppress(OSError), self._open(peer) as connection:
            told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES_RECEIVED + 8)
            received: int = struct.unpack_from("=Q", told, TCP_INFO_BYTES_RECEIVED)[0]
            return received
        return None

    def end(self, peer: Endpoint) -> bool:
        """Ends a connection, with all calls on it. Returns whether there was one."""
        with suppress(OSError), self._open(peer) as connection:
            connection.shutdown(socket.SHUT_RDWR)
            return True
        return False

    def _open(self, peer: Endpoint) -> socket.socket:
        """A socket of its own for a connection. It cannot become another's while this is open."""
        connection = self._connections.get(peer)
        if connection is None:
            raise OSError("not connected")
        opened = connection.opened()
        try:
            if opened.getpeername() == connection.peer:
                return opened
        except OSError:
            opened.close()
            raise
        opened.close()
        raise OSError("the descriptor has another socket now")

    def _connection(self, descriptor: int) -> "_Connection | None":
        try:
            viewed = socket.socket(fileno=descriptor)
        except OSError:  # no socket
            return None
        try:
            return self._connection_of(viewed)
        finally:
            viewed.detach()  # it is gRPC's to close

    def _connection_of(self, viewed: socket.socket) -> "_Connection | None":
        if viewed.family not in (socket.AF_INET, socket.AF_INET6) or viewed.type != socket.SOCK_STREAM:
            return None
        try:
            here: tuple[Any, ...] = viewed.getsockname()
            if here[1] != self.port:
                return None
            return _Connection(viewed.fileno(), viewed.family, viewed.getpeername())
        except OSError:  # it listens, or has just ended
            return None


class _Connection(NamedTuple):
    descriptor: int
    family: int
    peer: tuple[Any, ...]  # as the kernel tells it

    def opened(self) -> socket.socket:
        """A socket for whatever has its descriptor now. Nothing is asked of the kernel for its kind."""
        descriptor = os.dup(self.descriptor)
        try:
            return socket.socket(self.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, descriptor)
        except OSError:  # a file has it by now
            os.close(descriptor)
            raise
