"""Folders whose files are evaluated one by one, and folders that are one dataset."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from losswire_client._readers._columns import ArrayFile
from losswire_client._readers._formats import FORMATS, INDEX, format_of, open_files
from losswire_client._readers._names import listed

SPLITS, STATE = "dataset_dict.json", "state.json"  # of the datasets that Hugging Face's save_to_disk writes
NPY = FORMATS[".npy"]


class Source(NamedTuple):
    """A file or folder to evaluate.

    Attributes:
        path: The file or folder with the input, and with the targets unless there is a `target_path`.
        target_path: The file with the targets, if it is another one.
    """

    path: Path
    target_path: Path | None = None


def sources(paths: Sequence[Path], target_paths: Sequence[Path] = ()) -> list[Source]:
    """The sources for files and folders. The files of a folder take its place, unless it is one dataset.

    Args:
        paths: Files and folders.
        target_paths: Files with targets: one for each path, one for all paths, or none.
    """
    if target_paths:
        targets = [*target_paths] * len(paths) if len(target_paths) == 1 else target_paths
        return [Source(*pair) for pair in zip(paths, targets, strict=True)]
    return [Source(path) for given in paths for path in _members(given)]


def open_path(path: Path, split: str | None) -> ArrayFile:
    """Opens a file, or a folder that is one dataset.

    Raises:
        ValueError: The format is unknown, the file is damaged, the folder is no dataset, or it has no such split.
    """
    return open_files(*files_of(path, split))


def files_of(path: Path, split: str | None) -> list[Path]:
    """The files that are opened for a file, or for a folder that is one dataset.

    Raises:
        ValueError: The folder is no dataset, or it has no such split.
    """
    if not path.is_dir():
        _check_split(None, split)
        return [path]
    if (path / SPLITS).is_file():
        return files_of(path / _choose_split(_json(path / SPLITS), split), None)
    if (path / STATE).is_file():
        return _saved_files(path, _json(path / STATE), split)
    _check_split(None, split)
    if (index := _index(path)) is not None:
        return [index]
    files = _data_files(path)
    if not files or {format_of(file) for file in files} != {NPY}:
        raise _not_one_kind(path, files)
    return files


def _members(path: Path) -> list[Path]:
    """The files of a folder with files of one kind. Otherwise the path itself: opening it tells what is wrong."""
    if not path.is_dir() or any((path / name).is_file() for name in (SPLITS, STATE)) or _index(path) is not None:
        return [path]
    files = _data_files(path)
    kinds = {format_of(file) for file in files}
    return files if len(kinds) == 1 and kinds != {NPY} else [path]


def _data_files(folder: Path) -> list[Path]:
    """The files of a folder that have a reader, in the order of the numbers in their names."""
    files = (path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    return sorted((file for file in files if format_of(file)), key=lambda file: _natural(file.name))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"([0-9]+)", name)]


def _index(folder: Path) -> Path | None:
    found = [path for path in folder.iterdir() if path.name.endswith(INDEX)]
    return found[0] if len(found) == 1 else None


def _saved_files(folder: Path, state: dict[str, Any], split: str | None) -> list[Path]:
    """The files of a Hugging Face dataset: Arrow streams that continue each other."""
    _check_split(state.get("_split"), split)
    if state.get("_indices_data_files"):
        raise ValueError(f"has its rows chosen by indices ({STATE}): save it anew after flatten_indices()")
    names = _shards(state)
    if not names:
        raise ValueError(f"is a dataset without rows: {STATE} names no files")
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise ValueError(f"has no file {name}, which {STATE} names")
    return [folder / name for name in names]


def _shards(state: dict[str, Any]) -> list[str]:
    try:
        return [str(part["filename"]) for part in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{STATE}: expected the names of its files in _data_files") from error


def _choose_split(content: dict[str, Any], split: str | None) -> str:
    splits: Any = content.get("splits")
    if not isinstance(splits, list) or not all(isinstance(each, str) and Path(each).name == each for each in splits):
        raise ValueError(f"{SPLITS}: expected a list of names in splits")
    if split is None and len(splits) == 1:
        return str(splits[0])
    if split is None or split not in splits:
        problem = "has several splits," if split is None else f"has no split {split}, but"
        raise ValueError(f"{problem} {listed(splits)}: choose with --split")
    return split


def _check_split(there: str | None, split: str | None) -> None:
    if split not in (None, there):
        raise ValueError(f"has no split {split}: expected a folder of a Hugging Face DatasetDict")


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name}: expected an object")  # noqa: TRY004 - the file's fault
    return content


def _not_one_kind(folder: Path, files: Sequence[Path]) -> ValueError:
    suffixes = sorted({file.suffix for file in files})
    if suffixes:
        return ValueError(f"is a folder of files of several kinds ({', '.join(suffixes)}): name them one by one")
    there = sorted(path.name for path in folder.iterdir())
    of = f"but of {listed(there)}" if there else "and empty"
    return ValueError(f"is a folder without files that end in {', '.join(FORMATS)}, {of}")
