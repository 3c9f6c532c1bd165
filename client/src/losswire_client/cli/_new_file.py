"""Files that get their name when they are complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from losswire_client import LosswireError
from losswire_client.cli._failures import CommandError


class NewFile:
    """Takes the place of a file that may be there, once it is complete.

    What is no file, as a pipe or a device, is written in place: another file of its name would be nobody's. A link
    stays, and what it leads to is replaced.

    Attributes:
        place: Where it is written: beside the file, under a name that no other process takes.
    """

    def __init__(self, path: Path) -> None:
        self._is_in_place = path.exists() and not path.is_file()
        self._path = path if self._is_in_place else Path(os.path.realpath(path))
        self.place = path if self._is_in_place else self._path.with_name(f"{self._path.name}.{os.getpid()}.part")

    def keep(self) -> None:
        """Gives the complete file its name."""
        if not self._is_in_place:
            self.place.replace(self._path)

    def discard(self) -> None:
        """Deletes what is not kept."""
        if not self._is_in_place:
            self.place.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Has errors of the system name the file: a full disk's does not."""
    try:
        yield
    except LosswireError:  # some are errors of the system too
        raise
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from error
