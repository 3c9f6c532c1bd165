"""Takes records where they are logged, freezes them, and queues them for the thread that writes them."""

import logging
import threading
from collections import Counter
from logging.handlers import QueueHandler
from queue import SimpleQueue

from losswire_server.process.logs.frozen import freeze
from losswire_server.process.logs.rates import Rates

MOST_WAITING = 2000  # records; each has a few KB at most


class Intake(QueueHandler):
    """Never waits. A record for which there is no room is left out and counted.

    Args:
        texts_of_errors: Whether tracebacks have the exceptions' texts, which may quote what callers sent.
    """

    def __init__(self, *, texts_of_errors: bool) -> None:
        self.records: SimpleQueue[logging.LogRecord] = SimpleQueue()  # its `put` may interrupt another one
        super().__init__(self.records)
        self._texts_of_errors = texts_of_errors
        self._rates = Rates()
        self._left_out: Counter[str] = Counter()
        self._count_lock = threading.RLock()

    def emit(self, record: logging.LogRecord) -> None:
        if _is_of_leaving_caller(record):
            return
        if not self._rates.admit(record):
            self.leave_out("too many a second")
        elif self.records.qsize() >= MOST_WAITING:
            self.leave_out("standard error is slow")
        else:
            super().emit(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return freeze(record, texts_of_errors=self._texts_of_errors)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - as logging calls it
        self.leave_out("they cannot be shown")

    def leave_out(self, why: str) -> None:
        """Counts a record that is not written."""
        with self._count_lock:
            self._left_out[why] += 1

    def take_left_out(self) -> dict[str, int]:
        """How many records were left out since the last time, by the reason."""
        with self._count_lock:
            taken, self._left_out = self._left_out, Counter()
        return taken


def _is_of_leaving_caller(record: logging.LogRecord) -> bool:
    # grpcio logs an error with a traceback when a caller leaves while results are on their way to it.
    return record.name == "grpc._cython.cygrpc" and str(record.msg).startswith("ExecuteBatchError")
