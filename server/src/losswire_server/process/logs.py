"""Structured logs on standard error: each line is an event with fields.

The rest of the package logs with the standard library, with the fields in ``extra``, so that a program that embeds the
server decides what becomes of its logs.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from losswire_server.text import one_line

MOST_LOGGED = 1000  # characters of one field


def configure(level: str, format: str) -> None:
    """Sends the events of this package, and of the libraries that it uses, to standard error in one format."""
    json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    # Tracebacks come without local variables: those hold callers' data.
    rendering: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ExtraAdder(),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _escape,
            *rendering,
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_is_news)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _escape(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    # What a caller sent must neither forge a line nor fill the disk.
    return {name: one_line(value, MOST_LOGGED) if isinstance(value, str) else value for name, value in event.items()}


def _is_news(record: logging.LogRecord) -> bool:
    # grpcio logs an error with a traceback when a caller leaves while results are on their way to it.
    return not (record.name == "grpc._cython.cygrpc" and str(record.msg).startswith("ExecuteBatchError"))
