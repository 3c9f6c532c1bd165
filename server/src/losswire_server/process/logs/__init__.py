"""Structured logs on standard error: each line is an event with fields.

The rest of the package logs with the standard library, with the fields in ``extra``, so that a program that embeds the
server decides what becomes of its logs. Here records go through a bounded queue to a thread that writes them: whoever
logs never waits for standard error, which may be a pipe that nobody reads. The server's own way is::

    frozen record (intake) -> queue -> line (lines) -> standard error (output)
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from losswire_server.process.logs.intake import Intake
from losswire_server.process.logs.lines import Lines
from losswire_server.process.logs.output import STANDARD_ERROR, is_terminal
from losswire_server.process.logs.strays import strays_logged
from losswire_server.process.logs.writer import Writer

__all__ = ["configured"]

LAST_SECONDS = 2.0  # for what is still to be written at the end


@contextmanager
def configured(level: str, format: str) -> Iterator[None]:
    """Sends the events of this process to standard error for the length of a ``with`` block.

    So go warnings, exceptions that nobody catches, and whatever else Python or a library prints to ``sys.stderr``. At
    the end it waits for two seconds at most until all is written. It starts a thread, so fork before.

    Args:
        level: The least severe events to log.
        format: ``json``, ``console``, or ``auto``: for people if standard error is a terminal.

    Raises:
        CannotStartError: The operating system gives no thread.
    """
    json = format == "json" or (format == "auto" and not is_terminal())
    intake = Intake(texts_of_errors=level == "debug")
    writer = Writer(intake, Lines(json=json, colors=is_terminal()), STANDARD_ERROR)
    writer.start()
    root = logging.getLogger()
    before, root_level = root.handlers[:], root.level
    root.handlers[:] = [intake]
    root.setLevel(level.upper())
    try:
        with strays_logged():
            yield
    finally:
        writer.finish(LAST_SECONDS)
        root.handlers[:] = before
        root.setLevel(root_level)
