"""What would be printed to standard error past the log: warnings, uncaught exceptions, prints of libraries."""

import io
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

MOST_KEPT = 4000  # characters of a line that has not ended


@contextmanager
def strays_logged() -> Iterator[None]:
    """Logs them for the length of a ``with`` block."""
    before = sys.stderr, sys.excepthook, sys.unraisablehook, threading.excepthook
    sys.stderr = _Printed()
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_of_thread
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        sys.stderr, sys.excepthook, sys.unraisablehook, threading.excepthook = before


def log_fault_of_loop(loop: object, context: dict[str, Any]) -> None:  # noqa: ARG001 - as event loops call it
    """An event loop's handler of exceptions. The loop's own one quotes arguments and results."""
    message = str(context.get("message", ""))
    what = "Exception in callback" if message.startswith("Exception in callback") else message
    logging.getLogger("asyncio").error(what or "fault in the event loop", exc_info=context.get("exception"))


class _Printed(io.TextIOBase):
    """Stands for ``sys.stderr``: each line that is printed is a record, without the texts of exceptions."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._begun = ""
        self._in_traceback = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def write(self, text: str) -> int:
        *lines, begun = (self._begun + self._without_text_of_error(text)).split("\n")
        self._begun = begun[:MOST_KEPT]
        for line in lines:
            if line.strip():
                log.warning("printed", extra={"text": line})
        return len(text)

    def _without_text_of_error(self, text: str) -> str:
        """The type alone of an exception that is printed after its frames, as ``traceback`` prints it: in one write."""
        if text.startswith("Traceback (most recent call last)"):
            self._in_traceback = True
        elif self._in_traceback and text.strip() and not text.startswith(" "):
            self._in_traceback = False
            return text.partition(":")[0].rstrip() + "\n"
        return text


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: object) -> None:  # noqa: ARG001
    log.critical("uncaught exception", exc_info=error)


def _log_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    log.error("exception ignored", exc_info=unraisable.exc_value)


def _log_of_thread(args: "threading.ExceptHookArgs") -> None:
    if args.exc_type is not SystemExit:
        name = args.thread.name if args.thread is not None else ""
        log.error("uncaught exception", extra={"in_thread": name}, exc_info=args.exc_value)
