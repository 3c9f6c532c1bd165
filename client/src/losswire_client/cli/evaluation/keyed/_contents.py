"""What a file is, whatever its place: a name in keys, and the bytes that its fingerprint is of."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from typer import BadParameter

from losswire_client._keys import Reading, check_name, fingerprint
from losswire_client._readers import INDEX, FileError, Source, files_of


def name_of(source: Source, split: str | None, root: Path | None) -> str:
    """The name of a file in keys: its own, or its path from a folder. A folder that is one dataset counts as a file.

    Raises:
        FileError: The name cannot be in a key, or the file is not in the folder.
    """
    place = Path(os.path.abspath(_place(source.path, split)))
    name = place.name
    if root is not None:
        folder = Path(os.path.abspath(root))
        if not place.is_relative_to(folder):
            raise BadParameter(f"{source.path} is not in {root}", param_hint="--root")
        name = place.relative_to(folder).as_posix()
    try:
        check_name(name)
    except ValueError as error:
        raise FileError(source.path, error) from error
    return name


def fingerprint_of(source: Source, split: str | None, reading: Reading) -> str:
    """Digits that tell a file from others of its name, and how it is read."""
    return fingerprint(_opened(source, split), reading)


def _place(path: Path, split: str | None) -> Path:
    """The file, or the folder that is the dataset, whichever of its files or folders was named."""
    first = files_of(path, split)[0]
    return first.parent if path.is_dir() or first.name.endswith(INDEX) else first


def _files(source: Source, split: str | None) -> Iterator[Path]:
    paths = files_of(source.path, split)
    if source.target_path:
        paths = [*paths, *files_of(source.target_path, None)]
    for path in paths:
        yield path
        if path.name.endswith(INDEX):
            parts = json.loads(path.read_text("utf-8"))["weight_map"].values()
            yield from sorted(path.parent / part for part in set(parts))


def _opened(source: Source, split: str | None) -> Iterator[BinaryIO]:
    for path in _files(source, split):
        with path.open("rb") as file:
            yield file
