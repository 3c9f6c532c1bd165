"""HTTP/2 as no library writes it: frames for servers that are attacked.

Frames: https://www.rfc-editor.org/rfc/rfc9113#section-4
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
ACK, END_STREAM, END_HEADERS = 1, 1, 4
CANCEL = 8


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(index: int, value: str) -> bytes:
    """A header of the static table's name, which is not added to the dynamic table (RFC 7541, 6.2.2)."""
    prefix = bytes([index]) if index < 15 else bytes([15, index - 15])
    return prefix + bytes([len(value)]) + value.encode()


def headers(path: str) -> bytes:
    """The block of headers that begins a call of gRPC's."""
    names = _literal(4, path) + _literal(1, "localhost") + _literal(31, "application/grpc")
    return b"\x83\x86" + names + b"\x00\x02te" + bytes([len("trailers")]) + b"trailers"


def begun(path: str, stream: int, message: bytes | None = None) -> bytes:
    """The frames that begin a call, and those of its message."""
    begin = frame(HEADERS, END_HEADERS, stream, headers(path))
    if message is None:
        return begin
    return begin + frame(DATA, END_STREAM, stream, b"\x00" + struct.pack(">I", len(message)) + message)


def reset(stream: int) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A connection that has begun. What the server sends is thrown away."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
        assert connection.recv(2**16)  # its settings: until they are acknowledged, it takes few calls
        connection.sendall(frame(SETTINGS, ACK, 0))
        reader = threading.Thread(target=_discard, args=(connection,), daemon=True)
        reader.start()
        try:
            yield connection
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            reader.join()


def _discard(connection: socket.socket) -> None:
    with suppress(OSError):
        while connection.recv(2**16):
            pass
