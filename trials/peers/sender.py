"""A peer that keeps to HTTP/2's windows, so that it can send much."""

import socket
from contextlib import suppress
from typing import Self

import h2.connection
import h2.exceptions

from trials.peers.attack import Effort, Place
from trials.peers.raw import SECONDS, call_headers

STREAM = 1


class Sender:
    """One call on one connection."""

    def __init__(self, place: Place) -> None:
        self._socket = socket.create_connection((place.host, place.port), SECONDS)
        self._connection = h2.connection.H2Connection()
        self._connection.initiate_connection()
        self._connection.send_headers(STREAM, call_headers("Evaluate"))
        self._flush()

    def send_all(self, data: bytes, effort: Effort, *, ends: bool = False) -> int:
        """Sends data as the windows allow, in the attack's time. Returns how many bytes the server took.

        Args:
            data: A message, or the start of one.
            effort: Of the attack.
            ends: Whether nothing will follow.
        """
        at = 0
        with suppress(OSError, h2.exceptions.H2Error):
            while at < len(data) and effort.remaining:
                size = min(self._connection.local_flow_control_window(STREAM), self._connection.max_outbound_frame_size)
                if size > 0:
                    self._connection.send_data(STREAM, data[at : at + size])
                    at += size
                    self._flush()
                else:
                    self._receive()
            if ends:
                self._connection.end_stream(STREAM)
                self._flush()
        return at

    def _flush(self) -> None:
        self._socket.sendall(self._connection.data_to_send())

    def _receive(self) -> None:
        self._connection.receive_data(self._socket.recv(2**16))
        self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
