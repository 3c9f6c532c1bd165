"""One of the processes, as the supervisor sees it."""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from losswire_server.settings import Settings
from losswire_server.supervision.link import Message
from losswire_server.supervision.snapshot import Snapshot, from_json

MOST_BYTES = 2**30  # of a message: metrics have some hundred bytes a sample
LAST_WORDS_SECONDS = 1.0
COMMAND = (sys.executable, "-m", "losswire_server.child")


class Child:
    """A process that was started. Use it in the event loop.

    Args:
        process: The process.
        reader: Has its messages.
        writer: Takes messages to it.
        on_snapshot: Takes its metrics.

    Attributes:
        pid: Its process id.
        ready: Has what it tells of itself once it serves.
        refusal: Why it cannot serve, in its own words; empty if it said nothing.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_snapshot: Callable[[Snapshot], object],
    ) -> None:
        self.pid = process.pid
        self.ready: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.refusal = ""
        self._process = process
        self._reader, self._writer = reader, writer
        self._on_snapshot = on_snapshot
        self._asked: asyncio.Future[None] | None = None
        self._ready_at = 0.0
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, place: int, settings: Settings, on_snapshot: Callable[[Snapshot], object]) -> "Child":
        """Starts a process, whose standard error is ours.

        Raises:
            OSError: This machine has no process, descriptor or memory left for it.
        """
        ours, its = socket.socketpair()
        with its:
            # In a group of its own: an interrupt from a terminal is for the supervisor, which tells the processes.
            process = await asyncio.create_subprocess_exec(
                *COMMAND, str(its.fileno()), pass_fds=[its.fileno()], process_group=0
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=MOST_BYTES)
        child = cls(process, reader, writer, on_snapshot)
        child._say({"supervisor": os.getpid(), "place": place, "settings": settings.model_dump(mode="json")})
        return child

    async def ended(self) -> int:
        """Waits for its end, and returns its exit status; for a signal that is its negative number."""
        status = await self._process.wait()
        await asyncio.wait([self._reading], timeout=LAST_WORDS_SECONDS)
        self._reading.cancel()
        self._writer.close()
        self._answered()
        return status

    @property
    def is_ready(self) -> bool:
        return self.ready.done()

    @property
    def served_seconds(self) -> float:
        return time.monotonic() - self._ready_at if self.is_ready else 0.0

    async def ask_metrics(self, seconds: float) -> None:
        """Asks for its metrics, and waits so long for them at most."""
        if not self.is_ready:
            return
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_future()
            self._say({"do": "metrics"})
        await asyncio.wait([self._asked], timeout=seconds)

    def stop(self) -> None:
        """Tells it that the whole server stops."""
        self._say({"do": "stop"})

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    def _say(self, message: Message) -> None:
        self._writer.write(f"{json.dumps(message)}\n".encode())

    async def _read(self) -> None:
        with suppress(ConnectionError):
            while line := await self._reader.readline():
                if line.endswith(b"\n"):  # not cut short by its end
                    self._take(json.loads(line))

    def _take(self, message: Message) -> None:
        self.refusal = message.get("refusal", self.refusal)
        if "ready" in message:
            self._ready_at = time.monotonic()
            self.ready.set_result(message["ready"])
        if "metrics" in message:
            self._on_snapshot(from_json(message["metrics"]))
            self._answered()

    def _answered(self) -> None:
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)
