"""The thread that writes what was logged. It alone waits for standard error."""

import logging
import time
from contextlib import suppress
from logging.handlers import QueueListener
from queue import Empty

from losswire_server.process.logs import output
from losswire_server.process.logs.intake import Intake
from losswire_server.process.starting import CannotStartError

TELL_SECONDS = 1.0  # between two lines about records that were left out


class Writer(QueueListener):
    """Writes the records of an intake, and from time to time how many of them were left out.

    Args:
        intake: Where the records are.
        lines: Turns a record into a line.
        descriptor: Where lines are written.
    """

    def __init__(self, intake: Intake, lines: logging.Formatter, descriptor: int) -> None:
        super().__init__(intake.records)
        self._intake = intake
        self._lines = lines
        self._descriptor = descriptor
        self._told = time.monotonic()
        self._is_torn = False

    def dequeue(self, block: bool) -> logging.LogRecord:  # noqa: ARG002 - as QueueListener calls it
        while True:
            if time.monotonic() - self._told >= TELL_SECONDS:
                self._tell_left_out()
            with suppress(Empty):
                return self._intake.records.get(timeout=TELL_SECONDS)

    def handle(self, record: logging.LogRecord) -> None:
        try:
            line = self._lines.format(record)
        except Exception:  # noqa: BLE001 - the thread must not end
            self._intake.leave_out("they cannot be shown")
            return
        start = "\n" if self._is_torn else ""
        self._is_torn = not output.write(self._descriptor, f"{start}{line}\n".encode(errors="backslashreplace"))
        if self._is_torn:
            self._intake.leave_out("standard error does not take them")

    def start(self) -> None:
        """Starts the thread.

        Raises:
            CannotStartError: The operating system gives no thread.
        """
        try:
            super().start()
        except RuntimeError as error:
            raise CannotStartError(
                "threads: expected that this process may start some, got none: see ulimit -u, ulimit -v"
            ) from error

    def finish(self, seconds: float) -> None:
        """Writes what waits and ends, or gives up after so many seconds."""
        thread = self._thread
        self.enqueue_sentinel()
        if thread is not None:
            thread.join(seconds)
        if thread is None or not thread.is_alive():
            self._tell_left_out()

    def _tell_left_out(self) -> None:
        self._told = time.monotonic()
        for why, count in self._intake.take_left_out().items():
            fields = {"records": count, "why": why}
            told = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": "records left out"}
            self.handle(logging.makeLogRecord({**told, **fields}))
