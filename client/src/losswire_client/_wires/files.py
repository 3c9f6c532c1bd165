"""Files that others may replace while a client runs."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from losswire_client._errors import invalid_argument, shown

CHECK_SECONDS = 1.0  # looking at a file takes some microseconds, which not every call has to pay


class Watch:
    """Tells when files have been replaced."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = tuple(files)
        self._seen = self._look()
        self._next = time.monotonic() + CHECK_SECONDS

    def has_changed(self) -> bool:
        """Whether they are others than when this last said so."""
        if not self._files or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + CHECK_SECONDS
        seen, self._seen = self._seen, self._look()
        return seen != self._seen

    def _look(self) -> tuple[object, ...]:
        return tuple(_identity(file) for file in self._files)


def check_path(argument: str, file: object) -> None:
    """Checks that something is a path, if it is there; a path that no file can have will not be read."""
    if file is not None and not isinstance(file, str | os.PathLike):
        raise invalid_argument(argument, f"expected the path of a file, got {shown(file)}")


def read_file(argument: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (OSError, ValueError) as error:  # which a character that no path may have is to Python
        raise invalid_argument(argument, f"expected a file that can be read, got {str(file)!r}: {error}") from error


def _identity(file: Path) -> object:
    try:
        found = file.stat()
    except (OSError, ValueError):  # between two versions, or none that there can be
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
