"""Ends the command where a call outlives its timeout: gRPC keeps timeouts only as long as it gets threads to do so."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from losswire_client import Client
from losswire_client._deadline import Deadline
from losswire_client._errors import late
from losswire_client._wires.connection import Connection
from losswire_client._wires.endpoint import Endpoint
from losswire_client._wires.grpc_wire import GrpcWire, check_threads
from losswire_client.cli._failures import ExitCode, line

GRACE_SECONDS = 5.0  # that a call gets beyond its timeout, which takes it milliseconds as a rule
LOOK_SECONDS = 0.5
GRPC_THREADS = 8  # that a command needs: gRPC aborts the process where it gets too few
STDERR = 2
SHOW_CURSOR = "\x1b[?25h"  # which whoever shows progress hides


class TimeLimit:
    """Watches calls from a thread of its own.

    Args:
        target: Whom the calls go to.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._under_way: dict[object, tuple[float, float]] = {}  # when to give each call up, and its timeout
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="losswire-time-limit", daemon=True).start()

    @contextmanager
    def on(self, deadline: Deadline) -> Iterator[None]:
        """Around what must not outlive a deadline by much."""
        call = object()
        self._under_way[call] = time.monotonic() + deadline.remaining() + GRACE_SECONDS, deadline.seconds
        try:
            yield
        finally:
            del self._under_way[call]

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            for end, timeout in tuple(self._under_way.values()):
                if end < time.monotonic():
                    self._end_process(timeout)

    def _end_process(self, timeout: float) -> None:
        """Does without all that may be locked by a thread that is stuck."""
        os.write(STDERR, f"{SHOW_CURSOR * os.isatty(STDERR)}losswire: {line(late(self._target, timeout))}\n".encode())
        os._exit(ExitCode.UNREACHABLE)


class LimitedClient(Client):
    """A client that ends the process when a call outlives its timeout by `GRACE_SECONDS`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        check_threads(GRPC_THREADS)
        self._time_limit = TimeLimit(self.target)

    def close(self) -> None:
        super().close()
        self._time_limit.stop()

    def _new_connection(self) -> Connection:
        return Connection(self._endpoint, self._open_wire)

    def _open_wire(self, endpoint: Endpoint) -> "LimitedWire":
        with self._time_limit.on(self._deadline(None)):  # names may be looked up
            return LimitedWire(endpoint, self._time_limit)


class LimitedWire(GrpcWire):
    def __init__(self, endpoint: Endpoint, time_limit: TimeLimit) -> None:
        super().__init__(endpoint)
        self._time_limit = time_limit

    @contextmanager
    def _calling(self, deadline: Deadline) -> Iterator[None]:
        with self._time_limit.on(deadline), super()._calling(deadline):
            yield
