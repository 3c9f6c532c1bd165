"""Output of commands: results to standard output, everything else to standard error."""

import json
import math
import os
import sys
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from typer import BadParameter

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
