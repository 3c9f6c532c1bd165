"""The files of a data set, wherever they are, and the names by which a run knows them."""

import os
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from pyarrow import fs

from losswire_client._errors import InvalidArgumentError, invalid_argument, shown
from losswire_client._keys import check_name

PARQUET, NPZ = (".parquet", ".pq"), (".npz",)
HIDDEN = (".", "_")  # names that begin so are no data, by the convention of Spark and Ray

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class File(NamedTuple):
    """A file of one of the formats.

    Attributes:
        name: Its name in keys: its own, or its path from a folder. It is the same wherever the file is read.
        path: Its path in the file system.
        filesystem: Where it is.
    """

    name: str
    path: str
    filesystem: Any

    @property
    def is_parquet(self) -> bool:
        return self.path.lower().endswith(PARQUET)

    @property
    def folder(self) -> str:
        """The name of the folder that it is in."""
        return PurePosixPath(self.path).parent.name


def files_of(paths: Paths, root: str | os.PathLike[str] | None) -> list[File]:
    """The files, each once. Those of a folder take its place, in the order of their names.

    Raises:
        InvalidArgumentError: There is no such file or folder, it is of no format that is read, or not below the root;
            or two files have one name.
    """
    top = None if root is None else _full_name(_text(root, "root"))
    found = {file.name: file for path in _each(paths) for file in _members(path)}
    named: dict[str, str] = {}
    files = [_named(file, top) for file in found.values()]
    for full, file in zip(found, files, strict=True):
        if (other := named.setdefault(file.name, full)) != full:
            problem = f"{other!r} and {full!r} both have the name {file.name!r} in keys"
            raise invalid_argument("root", f"expected a folder from which their paths differ: {problem}")
    return files


def _each(paths: Paths) -> list[str]:
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    if not isinstance(given, Iterable) or not (given := list(given)):
        raise invalid_argument("data", f"expected paths or a ray.data.Dataset, got {shown(paths)}")
    return [_text(path, "data") for path in given]


def _text(path: object, argument: str) -> str:
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text:
        raise invalid_argument(argument, f"expected a path or a URI, got {shown(path)}")
    return text


def _wrong(given: str, problem: str) -> InvalidArgumentError:
    return invalid_argument("data", f"{given}: {problem}")


def _members(given: str) -> Iterator[File]:
    filesystem, path = _located(given)
    scheme = _scheme(given)
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.NotFound:
        raise _wrong(given, "is no file and no folder")
    if info.type == fs.FileType.File:
        found = [path]
        if not path.lower().endswith(PARQUET + NPZ):
            raise _wrong(given, f"expected a name that ends in {', '.join(PARQUET + NPZ)}")
    elif not (found := _data_files(filesystem, path)):
        raise _wrong(given, f"is a folder without files that end in {', '.join(PARQUET + NPZ)}")
    return (File(f"{scheme}{each}", each, filesystem) for each in found)


def _data_files(filesystem: Any, folder: str) -> list[str]:
    below = filesystem.get_file_info(fs.FileSelector(folder, recursive=True))
    paths = (info.path for info in below if info.type == fs.FileType.File)
    return sorted(
        path
        for path in paths
        if path.lower().endswith(PARQUET + NPZ)
        and not any(part.startswith(HIDDEN) for part in path.removeprefix(folder).split("/"))
    )


def _located(given: str) -> tuple[Any, str]:
    if "://" not in given:
        return fs.LocalFileSystem(), os.path.abspath(given)
    try:
        filesystem, path = fs.FileSystem.from_uri(given)
    except (ValueError, OSError) as error:
        raise _wrong(given, str(error)) from error
    return filesystem, path.rstrip("/")


def _scheme(given: str) -> str:
    """As in ``s3://``; empty for a path of this machine."""
    scheme, separator, _ = given.partition("://")
    return f"{scheme}{separator}" if separator and scheme != "file" else ""


def _full_name(given: str) -> str:
    return f"{_scheme(given)}{_located(given)[1]}"


def _named(file: File, top: str | None) -> File:
    if top is None:
        name = PurePosixPath(file.path).name
    elif file.name.startswith(f"{top.rstrip('/')}/"):
        name = file.name.removeprefix(f"{top.rstrip('/')}/")
    else:
        raise invalid_argument("root", f"expected a folder above all files, got {top!r}, which {file.name!r} is not in")
    try:
        check_name(name)
    except ValueError as error:
        raise _wrong(repr(file.name), str(error)) from error
    return file._replace(name=name)
