"""Standard error, written without waiting for a reader longer than asked for."""

import os
import select
from contextlib import suppress

STANDARD_ERROR = 2
AT_ONCE_BYTES = 4096  # a pipe with room takes as many without waiting: PIPE_BUF of Linux


def write(descriptor: int, data: bytes, seconds: float | None = None) -> bool:
    """Writes all of the data. Returns whether it could: the reader may have left, or the disk may be full.

    Args:
        descriptor: Where to.
        data: What.
        seconds: The longest to wait for room, each time there is none; None for any time.
    """
    milliseconds = None if seconds is None else seconds * 1000
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    while data:
        if not ready.poll(milliseconds):
            return False
        try:
            data = data[os.write(descriptor, data[:AT_ONCE_BYTES]) :]
        except BlockingIOError:  # others may share a descriptor that does not block, and have filled it
            continue
        except OSError:
            return False
    return True


def say(text: str) -> None:
    """Tells whoever starts a program why it does not start, where there is no log yet."""
    write(STANDARD_ERROR, f"{text}\n".encode(errors="backslashreplace"), seconds=1.0)


def is_terminal() -> bool:
    with suppress(OSError):
        return os.isatty(STANDARD_ERROR)
    return False
