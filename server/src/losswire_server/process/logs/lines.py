"""Turns a frozen record into one line, for machines or for people. Everything foreign is escaped and cut."""

import logging
import math
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.typing import EventDict

from losswire_server.process.logs.frozen import MOST_LOGGED, MOST_TRACEBACK, TRACEBACK, fields_of
from losswire_server.text import one_line

PRINTED_BELOW = {"exception", "stack", "exc_info"}  # what ConsoleRenderer prints on lines of its own


class Lines(logging.Formatter):
    """Formats as JSON, or for people. Only colors add control characters."""

    def __init__(self, *, json: bool, colors: bool) -> None:
        super().__init__()
        self._render: Any = _json if json else _Console(colors)

    def format(self, record: logging.LogRecord) -> str:
        line: str = self._render(_event(record))
        return line


def _event(record: logging.LogRecord) -> EventDict:
    event: EventDict = {"event": one_line(record.msg, MOST_LOGGED)}
    fields = {one_line(name): value for name, value in fields_of(record).items()}
    traceback = fields.pop(TRACEBACK, None)
    event.update({name: _clean(value) for name, value in fields.items() if name not in event})
    event.update(level=one_line(record.levelname.lower()), logger=one_line(record.name))
    event["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
    if traceback is not None:
        event[TRACEBACK] = "\n".join(one_line(line, MOST_TRACEBACK) for line in str(traceback).split("\n"))
    return event


def _clean(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no number for it
    return one_line(value, MOST_LOGGED) if isinstance(value, str) else value


def _json(event: EventDict) -> str:
    return str(structlog.processors.JSONRenderer()(None, "", event))


class _Console:
    def __init__(self, colors: bool) -> None:
        self._renderer = structlog.dev.ConsoleRenderer(colors=colors)

    def __call__(self, event: EventDict) -> str:
        shown = {f"{name}_" if name in PRINTED_BELOW else name: value for name, value in event.items()}
        if TRACEBACK in event:
            shown["traceback"] = " ".join(str(event[TRACEBACK]).split())
            del shown[f"{TRACEBACK}_"]
        return str(self._renderer(None, "", shown))
