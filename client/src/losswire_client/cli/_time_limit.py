"""Ends the command if a call outlives its timeout. gRPC only keeps timeouts while it can start threads."""

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

GRACE_SECONDS = 5.0  # how long a call may take beyond its timeout; mostly it takes milliseconds
LOOK_SECONDS = 0.5
GRPC_THREADS = 8  # how many threads a command needs: gRPC aborts the process if it gets too few
STDERR = 2
SHOW_CURSOR = "\x1b[?25h"  # progress bars hide the cursor


class TimeLimit:
    """Watches calls from a thread of its own.

    Args:
        target: The server's address, for the error.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._under_way: dict[object, tuple[float, float]] = {}  # when to give each call up, and its timeout
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="losswire-time-limit", daemon=True).start()

    @contextmanager
    def on(self, deadline: Deadline) -> Iterator[None]:
        """Surrounds work that must not outlive a deadline by much."""
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
        """Ends the process without taking any lock, since a thread that hangs may hold it."""
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
        with self._time_limit.on(self._deadline(None)):  # it may look up names
            return LimitedWire(endpoint, self._time_limit)


class LimitedWire(GrpcWire):
    def __init__(self, endpoint: Endpoint, time_limit: TimeLimit) -> None:
        super().__init__(endpoint)
        self._time_limit = time_limit

    @contextmanager
    def _failing(self, deadline: Deadline) -> Iterator[None]:
        with self._time_limit.on(deadline), super()._failing(deadline):
            yield
