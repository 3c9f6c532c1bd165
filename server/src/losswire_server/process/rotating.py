"""What files say that others may replace while the server runs."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

LOOK_SECONDS = 1.0  # a look at a file takes some microseconds, too much for every call

log = logging.getLogger(__name__)


class Rotating(Generic[T]):
    """What some files say. Once they were replaced, they are read again. May be used from any thread.

    Files may be half written, or replaced one after the other. So while they are wrong, what they said before stays,
    and they are read again at each look.

    Args:
        setting: That names the files, for the log.
        files: To be looked at.
        read: Reads them. Raises ValueError if they are wrong.
        on_failure: Is called each time when new files turn out to be wrong.

    Raises:
        ValueError: They are wrong from the start.
    """

    def __init__(
        self,
        setting: str,
        files: Sequence[Path],
        read: Callable[[], T],
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        self._setting = setting
        self._files = tuple(files)
        self._read = read
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self._problem = ""
        self._seen = self._look()  # before they are read: what is replaced meanwhile is read again
        self._value = read()
        self._next = time.monotonic() + LOOK_SECONDS

    def current(self) -> T:
        """What they say now. A replacement is noticed within `LOOK_SECONDS`."""
        if time.monotonic() >= self._next:
            with self._lock:
                self._next = time.monotonic() + LOOK_SECONDS
                self._renew()
        return self._value

    def _renew(self) -> None:
        seen = self._look()
        if seen == self._seen and not self._problem:
            return
        self._seen = seen
        try:
            self._value = self._read()
        except ValueError as error:
            self._fail(str(error))
            return
        self._problem = ""
        log.info("files replaced", extra={"setting": self._setting})

    def _fail(self, problem: str) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        self._on_failure()
        log.warning("wrong files; the old ones stay in use", extra={"setting": self._setting, "problem": problem})

    def _look(self) -> tuple[object, ...]:
        return tuple(_identity(file) for file in self._files)


def _identity(file: Path) -> object:
    try:
        found = file.stat()
    except (OSError, ValueError):  # the file is being replaced, or its path is impossible
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
