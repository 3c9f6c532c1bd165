"""HTTP/2 by hand, as wrong as an attack wants it."""

import socket
import struct
from contextlib import suppress
from typing import Self

import hpack
from hyperframe.frame import HeadersFrame, SettingsFrame

from trials.peers.attack import Place
from trials.peers.frames import PREFACE, call_headers

SECONDS = 5.0  # that a connection may take to open, and a full socket to take bytes


class Peer:
    """One connection. A server that closes it is right to: nothing is raised then.

    Attributes:
        is_open: Whether the server took the last bytes.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._encoder = hpack.Encoder()
        self.is_open = True

    @classmethod
    def of(cls, place: Place, settings: dict[int, int] | None = None) -> Self:
        """A connection that has begun as it should."""
        peer = cls((place.host, place.port))
        peer.send(PREFACE + SettingsFrame(0, settings=settings).serialize())
        return peer

    def send(self, data: bytes) -> bool:
        """Sends bytes. Returns whether the server took them."""
        try:
            self._socket.sendall(data)
        except OSError:
            self.is_open = False
        return self.is_open

    def headers(self, stream: int, method: str = "Evaluate") -> bytes:
        """The frame that begins a call."""
        return HeadersFrame(stream, self._encoder.encode(call_headers(method)), flags=["END_HEADERS"]).serialize()

    def read(self, seconds: float = 0.0) -> bytes:
        """What has come; empty if nothing has, or the connection is closed."""
        with suppress(OSError):
            self._socket.settimeout(seconds or 1e-3)
            came = self._socket.recv(2**16)
            self._socket.settimeout(SECONDS)
            return came
        with suppress(OSError):
            self._socket.settimeout(SECONDS)
        return b""

    def half_close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self, *, reset: bool = False) -> None:
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
