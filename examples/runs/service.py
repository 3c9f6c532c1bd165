"""A server that keeps runs, and can be killed."""

import os
from contextlib import ExitStack
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from losswire_server import RunningServer


class Service:
    """A server with runs in a file. Servers that start anew have the address of the first one.

    Args:
        file: Keeps the runs.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._servers = ExitStack()

    def __enter__(self) -> "Service":
        self._running = self._start(port=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    @property
    def target(self) -> str:
        return self._running.target

    def kill_and_restart(self) -> int:
        """Kills it, so that it can save nothing, and starts another one with its file.

        Returns:
            The signal that it died by; 0 if it did not.
        """
        os.kill(self._running.pid, SIGKILL)
        died = os.waitid(os.P_PID, self._running.pid, os.WEXITED | os.WNOWAIT)
        self._running = self._start(port=int(self.target.rpartition(":")[2]))
        return died.si_status if died and died.si_code == os.CLD_KILLED else 0

    def _start(self, port: int) -> "RunningServer":
        from losswire_server import launch

        return self._servers.enter_context(launch(port=port, runs=self._file))
