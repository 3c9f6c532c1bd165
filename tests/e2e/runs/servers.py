"""Servers in processes of their own, which are killed and come back at their addresses."""

import os
import signal
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from losswire_server import RunningServer, launch


class Killed:
    """A server that is killed, and started again at its address.

    Args:
        place: Where its runs are.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._running = ExitStack()
        self._server = self._start(port=0)

    @property
    def target(self) -> str:
        return self._server.target

    @property
    def pid(self) -> int:
        return self._server.pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._running.close()

    def restart(self) -> None:
        self._server = self._start(port=int(self.target.rpartition(":")[2]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.close()

    def _start(self, port: int) -> RunningServer:
        return self._running.enter_context(launch(log_level="error", port=port, runs=self._place, metrics=False))
