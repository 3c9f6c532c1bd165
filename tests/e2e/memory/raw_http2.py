"""Callers that write HTTP/2 by hand: they may lie about lengths, stop in the middle, or never read.

Frames: RFC 9113. Messages: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

import socket
import struct
import time
from collections.abc import Iterator

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACKNOWLEDGED, END_HEADERS = 1, 1, 4
INITIAL_WINDOW = 4  # of the settings
USUAL_WINDOW, LARGEST_WINDOW = 65535, 2**31 - 1
FRAME_BYTES = 2**14
SECONDS = 20.0  # without progress, after which a caller gives up
SERVICE = b"/losswire.v1.LossService/"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def prefixed(data: bytes, announced: int | None = None) -> bytes:
    """A message behind its prefix, which announces its own length unless told another."""
    return b"\0" + struct.pack(">I", len(data) if announced is None else announced) + data


class RawCaller:
    """One connection, which reads nothing but what it needs to send.

    Args:
        window: How many bytes of each answer the server may send before they are read.
    """

    def __init__(self, target: str, window: int = USUAL_WINDOW) -> None:
        host, _, port = target.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=SECONDS)
        self._received = b""
        self._windows = {0: USUAL_WINDOW}  # for what is sent: of the connection, and of each stream
        self._first_window = USUAL_WINDOW
        self._ended: set[int] = set()
        settings = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, window))
        more = window - USUAL_WINDOW
        updates = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", more)) if more else b""
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + updates)

    def begin(self, stream: int, method: str, *more: tuple[bytes, bytes]) -> None:
        """Begins a call, with additional headers."""
        headers = [(b":path", SERVICE + method.encode()), (b":authority", b"x"), (b"te", b"trailers")]
        headers += [(b"content-type", b"application/grpc"), *more]
        self._windows[stream] = self._first_window
        self._socket.sendall(frame(HEADERS, END_HEADERS, stream, b"\x83\x86" + b"".join(map(_literal, headers))))

    def send(self, stream: int, data: bytes, *, end: bool = False) -> int:
        """Sends data as fast as the server takes it. Returns how many bytes it took before it ended the call."""
        left, moved = memoryview(data), time.monotonic()
        try:
            while left and stream not in self._ended and time.monotonic() - moved < SECONDS:
                self._read(wait=False)
                size = min(FRAME_BYTES, len(left), self._windows[0], self._windows[stream])
                if size <= 0:
                    self._read(wait=True)
                    continue
                self._socket.sendall(frame(DATA, 0, stream, bytes(left[:size])))
                self._windows[0] -= size
                self._windows[stream] -= size
                left, moved = left[size:], time.monotonic()
            if end and not left:
                self._socket.sendall(frame(DATA, END_STREAM, stream, b""))
        except OSError:  # the server has ended the connection
            self._ended.add(stream)
        return len(data) - len(left)

    def reset(self, stream: int) -> None:
        self._socket.sendall(frame(RESET, 0, stream, struct.pack(">I", 8)))

    def is_ended(self, stream: int) -> bool:
        """Whether the server has ended a call, or the connection, by now."""
        try:
            self._read(wait=False)
        except OSError:
            return True
        return stream in self._ended

    def close(self) -> None:
        self._socket.close()

    def _read(self, *, wait: bool) -> None:
        self._socket.settimeout(0.01 if wait else 0.0)
        try:
            came = self._socket.recv(2**16)
        except (TimeoutError, BlockingIOError):
            return
        finally:
            self._socket.settimeout(SECONDS)
        if not came:
            raise ConnectionResetError("the server has ended the connection")
        self._received += came
        for kind, flags, stream, payload in self._frames():
            self._take(kind, flags, stream, payload)

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        while len(self._received) >= 9 and len(self._received) >= (size := 9 + int.from_bytes(self._received[:3])):
            head, payload, self._received = self._received[:9], self._received[9:size], self._received[size:]
            yield head[3], head[4], int.from_bytes(head[5:9]) & 2**31 - 1, payload

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._windows[stream] = self._windows.get(stream, self._first_window) + int.from_bytes(payload)
        elif kind == SETTINGS and not flags & ACKNOWLEDGED:
            for identifier, value in struct.iter_unpack(">HI", payload):
                if identifier == INITIAL_WINDOW:
                    self._resize_windows(value)
            self._socket.sendall(frame(SETTINGS, ACKNOWLEDGED, 0, b""))
        elif kind == PING and not flags & ACKNOWLEDGED:
            self._socket.sendall(frame(PING, ACKNOWLEDGED, 0, payload))
        elif kind == GOAWAY:
            self._ended.update(self._windows)
        elif kind == RESET or (kind in (HEADERS, DATA) and flags & END_STREAM):
            self._ended.add(stream)

    def _resize_windows(self, size: int) -> None:
        more, self._first_window = size - self._first_window, size
        for stream in self._windows.keys() - {0}:
            self._windows[stream] += more


def _literal(header: tuple[bytes, bytes]) -> bytes:
    """A header without compression: RFC 7541, 6.2.2."""
    name, value = header
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
