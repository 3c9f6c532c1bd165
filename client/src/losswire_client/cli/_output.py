"""Output of commands: results to standard output, everything else to standard error."""

import json
import math
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, Protocol, Self, TypeVar

from rich.console import Console
from typer import BadParameter

RowsT = TypeVar("RowsT")
RowsT_contra = TypeVar("RowsT_contra", contravariant=True)

ROW_SUFFIXES = (".csv", ".parquet", ".npy")
RESULT_SUFFIX = ".json"  # for results instead of rows
PIPE_WIDTH = 200  # files and pipes have no width, and grep cannot use a table that is folded into 80 columns


def stdout() -> Console:
    return _console(sys.stdout)


def stderr() -> Console:
    return _console(sys.stderr)


def write_json(data: Any) -> None:
    """Writes a result as JSON. Numbers that JSON does not have are text, as in protobuf's JSON: "NaN"."""
    stdout().print_json(json_text(data))


def json_text(data: Any, indent: int | None = 2) -> str:
    """The JSON text that `write_json` writes; in one line without an indent."""
    return json.dumps(_finite(data), allow_nan=False, indent=indent)


def output_path(path: Path | None) -> Path | None:
    """Refuses a file for rows or results that could not be written, before the work and not after it."""
    return new_file(path, (*ROW_SUFFIXES, RESULT_SUFFIX)) if path else None


def new_file(path: Path, suffixes: Collection[str]) -> Path:
    """The file that an option names for writing. A file that cannot be written is refused before the work."""
    if path.suffix.lower() not in suffixes:
        raise BadParameter(f"expected a name that ends in {', '.join(suffixes)}, got {path.name}")
    if not path.parent.is_dir():
        raise BadParameter(f"there is no directory {path.parent}")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise BadParameter(f"{path} cannot be written")
    return path


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


class RowFile(Protocol[RowsT_contra]):
    """A file of rows. ``close`` completes it; ``discard`` is called in the end, completed or not."""

    def add(self, rows: RowsT_contra, /) -> None: ...

    def close(self) -> None: ...

    def discard(self) -> None: ...


class RowWriter(Generic[RowsT]):
    """Writes rows to a file. The file gets its name when it is complete.

    Args:
        path: The file. Its suffix gives the format. If it is None or has another suffix, no rows are written.
        open_file: Opens a file in the format of a suffix.
    """

    def __init__(self, path: Path | None, open_file: Callable[[Path, str], RowFile[RowsT]]) -> None:
        suffix = path.suffix.lower() if path else ""
        self._new = NewFile(path) if path and suffix in ROW_SUFFIXES else None
        self._file = open_file(self._new.place, suffix) if self._new else None

    def add(self, rows: RowsT) -> None:
        if self._file:
            self._file.add(rows)

    def keep(self) -> None:
        """Completes the file and keeps it. Without this call it is deleted."""
        if self._file and self._new:
            self._file.close()
            self._new.keep()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file and self._new:
            self._file.discard()
            self._new.discard()


def _console(stream: IO[str]) -> Console:
    width = None if stream.isatty() else PIPE_WIDTH
    # No markup: a file's name may contain brackets.
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {name: _finite(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return "NaN" if math.isnan(data) else "Infinity" if data > 0 else "-Infinity"
    return data
