"""A record as it is queued: short, and without anything that can change or that keeps callers' data alive."""

import logging
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

MOST_LOGGED = 1000  # characters of one field
MOST_FIELDS = 40
MOST_FRAMES = 30
MOST_CAUSES = 5
MOST_TRACEBACK = 8000  # characters
TRACEBACK = "exception"  # name of the field
STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def freeze(record: logging.LogRecord, *, texts_of_errors: bool) -> logging.LogRecord:
    """A copy of a record that has its message, its traceback and its fields as texts or numbers."""
    given = vars(record)
    extras = [name for name in given if name not in STANDARD][:MOST_FIELDS]
    frozen = logging.makeLogRecord({name: given[name] for name in given.keys() & STANDARD})
    values = vars(frozen)  # no attributes are set by names that may be those of methods
    values.update({shortened(name): _value(given[name]) for name in extras})
    frozen.msg = shortened(logging.LogRecord.getMessage(record))
    frozen.args = frozen.exc_info = frozen.exc_text = frozen.stack_info = None
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        values[TRACEBACK] = described(error, texts_of_errors=texts_of_errors)
    return frozen


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a frozen record."""
    return {name: value for name, value in vars(record).items() if name not in STANDARD}


def described(error: BaseException, *, texts_of_errors: bool) -> str:
    """A traceback without local variables, and without the exceptions' texts unless they are asked for.

    Local variables hold callers' data, and texts may quote them, as in ``KeyError: 'secret'``.
    """
    parts = []
    for each in reversed(list(_chain(error))):
        name = type(each).__qualname__
        text = f": {shortened(_text_of(each))}" if texts_of_errors else ""
        parts.append(f"Traceback (most recent call last):\n{_frames(each.__traceback__)}{name}{text}")
    return "\nThen:\n".join(parts)[-MOST_TRACEBACK:]


def shortened(text: str) -> str:
    """So short that keeping it costs little; `one_line` marks the cut."""
    return text[: MOST_LOGGED + 1]


def _value(value: object) -> object:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else "a large integer"
    return shortened(value if isinstance(value, str) else _text_of(value))


def _text_of(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - it is anybody's code
        return f"a {type(value).__qualname__} without a text"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, what it came from, what that came from."""
    seen: list[BaseException] = []
    while error is not None and all(error is not each for each in seen) and len(seen) < MOST_CAUSES:
        seen.append(error)
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _frames(trace: TracebackType | None) -> str:
    return "".join(traceback.format_tb(trace, -MOST_FRAMES))
