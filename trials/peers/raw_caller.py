"""A caller that keeps to HTTP/2's windows, so that it can send much, and lies as it likes about what it sends."""

import math
import socket
import time
from contextlib import suppress
from typing import Self

import h2.connection
import h2.events
import h2.exceptions
from h2.settings import SettingCodes

from trials.peers.frames import CANCEL, USUAL_WINDOW, call_headers

SECONDS = 20.0  # without progress, after which a caller gives up
OVER = (h2.events.StreamEnded, h2.events.StreamReset)


class RawCaller:
    """Calls on one connection, of which nothing is read but what it needs to send.

    Args:
        target: Of the server, as in ``127.0.0.1:50051``.
        window: How many bytes of each answer the server may send before they are read.
        patience: Seconds without progress, after which the caller gives up.
    """

    def __init__(self, target: str, window: int = USUAL_WINDOW, patience: float = SECONDS) -> None:
        host, _, port = target.rpartition(":")
        self._patience = patience
        self._socket = socket.create_connection((host, int(port)), patience)
        self._connection = h2.connection.H2Connection()
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._connection.initiate_connection()
        self._connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        if window > USUAL_WINDOW:
            self._connection.increment_flow_control_window(window - USUAL_WINDOW)
        self._flush()

    def begin(self, stream: int, method: str, *more: tuple[str, str]) -> None:
        """Begins a call, with additional headers.

        Raises:
            OSError: The server has ended the connection.
        """
        try:
            self._connection.send_headers(stream, [*call_headers(method), *more])
        except h2.exceptions.H2Error as error:
            raise ConnectionResetError("the server has ended the connection") from error
        self._begun.add(stream)
        self._flush()

    def send(self, stream: int, data: bytes, *, end: bool = False, seconds: float = math.inf) -> int:
        """Sends data as fast as the server takes it. Returns how many bytes it took before it ended the call.

        Args:
            stream: Of the call.
            data: A message, or a part of one.
            end: Whether nothing will follow.
            seconds: After which no more is sent.
        """
        sent, over = 0, time.monotonic() + seconds
        try:
            while sent < len(data) and stream not in self._ended and time.monotonic() < over:
                self._receive(wait=False)
                sent += self._send_some(stream, data[sent : sent + self._room(stream)])
            if end and sent == len(data):
                self._connection.end_stream(stream)
                self._flush()
        except TimeoutError:  # the server takes no more
            pass
        except (OSError, h2.exceptions.H2Error):
            self._ended.add(stream)
        return sent

    def reset(self, stream: int) -> None:
        with suppress(h2.exceptions.H2Error):  # the server has ended it
            self._connection.reset_stream(stream, CANCEL)
        self._flush()

    def is_ended(self, stream: int) -> bool:
        """Whether the server has ended a call, or the connection, by now."""
        try:
            self._receive(wait=False)
        except (OSError, h2.exceptions.H2Error):
            return True
        return stream in self._ended

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _room(self, stream: int) -> int:
        return min(self._connection.local_flow_control_window(stream), self._connection.max_outbound_frame_size)

    def _send_some(self, stream: int, data: bytes) -> int:
        """Sends data for which there is room. Waits for more room if there is none."""
        if data:
            self._connection.send_data(stream, data)
            self._flush()
        else:
            self._receive(wait=True)
        return len(data)

    def _flush(self) -> None:
        self._socket.sendall(self._connection.data_to_send())

    def _receive(self, *, wait: bool) -> None:
        self._socket.settimeout(self._patience if wait else 0.0)
        try:
            came = self._socket.recv(2**16)
        except BlockingIOError:
            return
        finally:
            self._socket.settimeout(self._patience)
        if not came:
            raise ConnectionResetError("the server has ended the connection")
        for event in self._connection.receive_data(came):
            if isinstance(event, OVER):
                self._ended.add(event.stream_id)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self._ended |= self._begun
        self._flush()
