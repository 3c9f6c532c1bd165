"""Files that others may replace while a client runs."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from losswire_client._errors import invalid_argument, shown

CHECK_SECONDS = 1.0  # a look at a file takes some microseconds, too much for every call


class Watch:
    """Tells when files have been replaced."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = tuple(files)
        self._seen = self._look()
        self._next = time.monotonic() + CHECK_SECONDS

    def has_changed(self) -> bool:
        """Whether any file has been replaced since the last call."""
        if not self._files or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + CHECK_SECONDS
        seen, self._seen = self._seen, self._look()
        return seen != self._seen

    def _look(self) -> tuple[object, ...]:
        return tuple(_identity(file) for file in self._files)


def check_path(argument: str, file: object) -> None:
    """Checks that a value is a path or None. `read_file` refuses a path that no file can have."""
    if file is not None and not isinstance(file, str | os.PathLike):
        raise invalid_argument(argument, f"expected the path of a file, got {shown(file)}")


def read_file(argument: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (OSError, ValueError) as error:  # Python raises ValueError for a character that no path may have
        raise invalid_argument(argument, f"expected a file that can be read, got {str(file)!r}: {error}") from error


def _identity(file: Path) -> object:
    try:
        found = file.stat()
    except (OSError, ValueError):  # the file is being replaced, or its path is impossible
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
