"""One place of a server's processes: a process serves there, and after its end another one."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from losswire_server.process.starting import CannotStartError
from losswire_server.settings import Settings
from losswire_server.supervision.backoff import Backoff
from losswire_server.supervision.child import Child
from losswire_server.supervision.ledger import Ledger
from losswire_server.supervision.snapshot import Snapshot

log = logging.getLogger(__name__)


class StartError(CannotStartError):
    """A process cannot serve with its settings, or on this machine. The message is a line that says why."""


class Place:
    """Keeps a process at a place. Use it in the event loop.

    Args:
        number: Of the place, from 0.
        settings: Those of its processes.
        ledger: Gets what its processes count.
        on_restart: Is called when a process is started in place of another.

    Attributes:
        ready: Has what the first process tells of itself once it serves.
    """

    def __init__(self, number: int, settings: Settings, ledger: Ledger, on_restart: Callable[[], object]) -> None:
        self.ready: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._on_restart = on_restart
        self._number = number
        self._settings = settings
        self._ledger = ledger
        self._backoff = Backoff()
        self._child: Child | None = None
        self._stopping = asyncio.Event()

    @property
    def is_serving(self) -> bool:
        return self._child is not None and self._child.is_ready

    async def ask_metrics(self, seconds: float) -> None:
        """Has the ledger get present metrics, if the process tells them within so many seconds."""
        if self._child is not None:
            await self._child.ask_metrics(seconds)

    def stop(self) -> None:
        """Tells the process that the server stops. Afterwards none is started."""
        self._stopping.set()
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    async def keep(self) -> None:
        """Starts one process after the other, until one has ended after `stop`.

        Raises:
            StartError: The first one cannot serve.
        """
        await self._serve_once()
        while not self._stopping.is_set():
            self._on_restart()
            await self._serve_once()

    async def _serve_once(self) -> None:
        """Has a process serve to its end, and waits for as long as no other one is to be started."""
        begin = time.monotonic()
        try:
            child = await Child.start(self._number, self._settings, self._report)
        except OSError as error:
            return await self._mourn(f"cannot be started: {error.strerror}")
        self._child = child
        child.ready.add_done_callback(lambda _: self._has_become_ready(child, time.monotonic() - begin))
        if self._stopping.is_set():  # while it was being started
            child.stop()
        status = await child.ended()
        self._child = None
        self._ledger.retire(self._number)
        return await self._mourn(child.refusal or described(status), child.pid, child.served_seconds)

    def _report(self, snapshot: Snapshot) -> None:
        self._ledger.report(self._number, snapshot)

    def _has_become_ready(self, child: Child, seconds: float) -> None:
        log.info("process serves", extra={"place": self._number, "pid": child.pid, "start_seconds": round(seconds, 3)})
        if not self.ready.done():
            self.ready.set_result(child.ready.result())

    async def _mourn(self, end: str, pid: int | None = None, served_seconds: float = 0.0) -> None:
        """Waits for as long as no other process is to be started."""
        if self._stopping.is_set():
            return
        if not self.ready.done():
            raise StartError(end if ":" in end else f"processes: one could not serve: {end}")
        pause = self._backoff.pause(served_seconds)
        level = logging.INFO if end == LEFT else logging.ERROR
        told = {"place": self._number, "pid": pid, "end": end, "seconds_to_next": pause}
        log.log(level, "process ended", extra=told)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause)


def described(status: int) -> str:
    """An exit status, for people."""
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


LEFT = described(0)
