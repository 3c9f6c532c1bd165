"""The processes of a soak: a server that is restarted at the same address, callers, and clients that are killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import IO, Any, cast

from benchmarks.contestants import ROOT
from losswire_server import RunningServer, launch
from trials.soak.ways import Reach, Way

DOWN_SECONDS = 30.0  # that a server may take to be gone


class Served:
    """A server, and the one in its place after a restart.

    Args:
        stack: Ends all of them.
        ways: To serve, the first one first.

    Attributes:
        running: The one that runs now.
    """

    def __init__(self, stack: ExitStack, ways: Sequence[Way]) -> None:
        self._stack = stack
        self._ways = deque(ways)
        self.running = self._launch(free_port())

    @property
    def way(self) -> Way:
        """How the server is served now."""
        return self._ways[0]

    @property
    def reach(self) -> Reach:
        """How callers reach it."""
        return self.way.reach(self._port)

    def restart(self, how: signal.Signals) -> None:
        """Ends the server by a signal, and runs another at its address."""
        os.kill(self.running.pid, how)
        port, deadline = self._port, time.monotonic() + DOWN_SECONDS
        while not _is_free(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.running = self._launch(port)

    def change(self) -> None:
        """Serves in the next way."""
        self._ways.rotate(-1)
        self.restart(signal.SIGTERM)

    @property
    def _port(self) -> int:
        return int(self.running.target.rpartition(":")[2])

    def _launch(self, port: int) -> RunningServer:
        return self._stack.enter_context(launch(log_level="error", port=port, **self.way.settings))


class Caller:
    """A process of `trials.soak.caller`.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.pid = process.pid

    def begin(self, seconds: float, reach: Reach) -> None:
        """Has it make calls of a server for so long."""
        cast(IO[str], self._process.stdin).write(f"{seconds} {reach.text()}\n")
        cast(IO[str], self._process.stdin).flush()

    def answer(self) -> dict[str, Any]:
        """What came of the calls, once they are over.

        Raises:
            RuntimeError: The process ended.
        """
        line = cast(IO[str], self._process.stdout).readline()
        if not line:
            raise RuntimeError("a caller's process ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def calling(seed: int) -> Iterator[Caller]:
    """A caller, which has closed all its connections at the end."""
    command = [sys.executable, "-m", "trials.soak.caller", str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Caller(process)


@contextmanager
def victim(reach: Reach) -> Iterator[None]:
    """A client in the middle of its calls, which is killed at the end of the block."""
    command = [sys.executable, "-m", "trials.soak.victim", reach.text()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        cast(IO[str], process.stdout).readline()
        try:
            yield
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
