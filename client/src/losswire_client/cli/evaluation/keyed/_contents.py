"""What a file is, whatever its place: a name in keys, and a fingerprint of what is read from it."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from typer import BadParameter

from losswire_client._readers import INDEX, FileError, Source, files_of

PIECES, PIECE_BYTES = 16, 2**16  # the part of a large file that is read for its fingerprint
DIGITS = 12  # two files of one name differ in them, with a chance to the contrary of 2^-48


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
    if not name.isprintable():
        raise FileError(source.path, "a run's keys have no names with control characters or bytes that are no text")
    return name


def fingerprint(source: Source, split: str | None, reading: Sequence[object]) -> str:
    """Digits that tell files apart by their sizes and samples of their bytes, and by how they are read."""
    digest = hashlib.sha256(repr(reading).encode())
    for path in _files(source, split):
        size = path.stat().st_size
        digest.update(size.to_bytes(8, "little"))
        for piece in _pieces(path, size):
            digest.update(piece)
    return digest.hexdigest()[:DIGITS]


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


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        if size <= PIECES * PIECE_BYTES:
            yield file.read()
            return
        for i in range(PIECES):
            file.seek((size - PIECE_BYTES) * i // (PIECES - 1))
            yield file.read(PIECE_BYTES)
