"""Loads the heads that the operator gives: a checkpoint, or a folder of plain files and checkpoints.

Tensors are read by the library ``safetensors``, which maps files into memory, and no others than those of the head.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

import ce_engine
from losswire import v1
from losswire.errors import FieldError
from losswire.heads.checkpoints import CONFIG, HeadPlace, UnknownHeadError, find_in_checkpoint, find_in_file
from losswire.heads.rules import check_alias, check_head
from losswire_server.heads.building import build, digest_with, form_of
from losswire_server.heads.errors import HeadQuotaError, UnusableHeadsError
from losswire_server.heads.registry import Heads

SUFFIX = ".safetensors"
INDEX = "model.safetensors.index.json"
MOST_JSON_BYTES = 2**26


def load_into(heads: Heads, folder: Path) -> None:
    """Loads the heads of a folder. Their names are those of their files without the suffix, or of their folders.

    Raises:
        UnusableHeadsError: A file is wrong, or all of them are too much.
    """
    found: dict[str, Path] = {}
    for alias, path in _entries(folder):
        if alias in found:
            raise UnusableHeadsError(
                f"expected one head of the name {alias!r}, got {found[alias].name!r} and {path.name!r}"
            )
        found[alias] = path
    if not found:
        raise UnusableHeadsError(f"expected {CONFIG}, NAME{SUFFIX} or folders of checkpoints in {str(folder)!r}")
    for alias, path in found.items():
        try:
            check_alias(alias, "name")
            form, tensors = read(path)
            heads.add(digest_with(form, tensors), form, build(form, tensors), permanent=True, aliases=[alias])
        except (FieldError, HeadQuotaError, UnknownHeadError, ce_engine.InvalidArgumentError) as error:
            raise UnusableHeadsError(f"{str(path)!r}: {error}") from error


def read(path: Path) -> tuple[v1.Head, dict[str, Tensor]]:
    """The form and the tensors of the head in a plain file, or in the folder of a checkpoint.

    Raises:
        UnusableHeadsError: A file is missing, or no such file.
        UnknownHeadError: It has no head that can be found.
        FieldError: A tensor or a number is wrong.
    """
    return _read_checkpoint(path) if path.is_dir() else _read_plain(path)


class _Shards(NamedTuple):
    """Which file has which tensor."""

    files: Mapping[str, Path]

    def tensor(self, name: str) -> Tensor:
        file = self.files[name]
        try:
            with safe_open(file, framework="pt") as opened:
                return opened.get_tensor(name)  # type: ignore[no-any-return]
        except (OSError, SafetensorError) as error:
            raise UnusableHeadsError(f"{str(file)!r}: tensor {name}: {error}") from error


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    try:
        if (folder / CONFIG).exists():
            yield folder.resolve().name, folder
            return
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir() and ((path / CONFIG).exists() or any(path.glob(f"*{SUFFIX}*"))):
                yield path.name, path
            elif path.name.endswith(SUFFIX):
                yield path.name.removesuffix(SUFFIX), path
    except OSError as error:
        raise UnusableHeadsError(f"expected a folder, got {str(folder)!r}: {error.strerror}") from error


def _read_plain(file: Path) -> tuple[v1.Head, dict[str, Tensor]]:
    names, metadata = _contents(file)
    return _read_head(find_in_file(metadata, names), _Shards(dict.fromkeys(names, file)))


def _read_checkpoint(folder: Path) -> tuple[v1.Head, dict[str, Tensor]]:
    config = _json(folder / CONFIG)
    shards = _shards(folder)
    return _read_head(find_in_checkpoint(config, shards.files), shards)


def _read_head(place: HeadPlace, shards: _Shards) -> tuple[v1.Head, dict[str, Tensor]]:
    tensors = {name: shards.tensor(source) for name, source in place.names.items()}
    if place.norm is not None and place.norm.adds_one:
        tensors["norm.weight"] = _one_more(tensors["norm.weight"])
    form = v1.Head(weight=form_of(tensors["weight"]))
    if "bias" in tensors:
        form.bias.CopyFrom(form_of(tensors["bias"]))
    if place.norm is not None:
        form.norm.kind = v1.NormKind.Value(f"NORM_KIND_{place.norm.kind.upper()}")
        form.norm.eps = place.norm.eps
        for name in ("weight", "bias"):
            if f"norm.{name}" in tensors:
                getattr(form.norm, name).CopyFrom(form_of(tensors[f"norm.{name}"]))
    if place.softcap is not None:
        form.softcap = place.softcap
    if place.temperature != 1.0:
        form.temperature = place.temperature
    _check(form, place, tensors)
    return form, tensors


def _check(form: v1.Head, place: HeadPlace, tensors: Mapping[str, Tensor]) -> None:
    """As `check_head`, with names of the file's tensors."""
    try:
        check_head(form)
    except FieldError as error:
        name = error.field.removeprefix("head.")
        if name in tensors:
            came = f"{str(tensors[name].dtype).removeprefix('torch.')} of shape {tuple(tensors[name].shape)}"
            raise FieldError(f"tensor {place.names[name]}", f"{error.problem}; it is {came}") from error
        raise FieldError(name, error.problem) from error


def _one_more(weight: Tensor) -> Tensor:
    return 1.0 + (weight if weight.dtype == torch.float64 else weight.float())


def _shards(folder: Path) -> _Shards:
    """The tensors of a checkpoint: of an index, or of all its files."""
    index = folder / INDEX
    if index.exists():
        placed = _json(index).get("weight_map")
        if not isinstance(placed, dict) or not all(isinstance(name, str) for name in placed.values()):
            raise UnusableHeadsError(f"{str(index)!r}: expected an object weight_map, of tensors to files")
        if wrong := [name for name in placed.values() if Path(name).name != name]:
            raise UnusableHeadsError(f"{str(index)!r}: expected names of files in its folder, got {wrong[0]!r}")
        return _Shards({name: folder / file for name, file in placed.items()})
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if not files:
        raise UnusableHeadsError(f"{str(folder)!r}: expected {INDEX} or files *{SUFFIX}, got neither")
    return _Shards({name: file for file in files for name in _contents(file)[0]})


def _contents(file: Path) -> tuple[list[str], Mapping[str, str]]:
    """The names of a file's tensors, and its metadata."""
    try:
        with safe_open(file, framework="pt") as opened:
            return list(opened.keys()), opened.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UnusableHeadsError(f"{str(file)!r}: expected a safetensors file: {error}") from error


def _json(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            read = json.loads(opened.read(MOST_JSON_BYTES))
    except OSError as error:
        raise UnusableHeadsError(f"{str(file)!r}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UnusableHeadsError(f"{str(file)!r}: expected JSON: {error}") from error
    if not isinstance(read, dict):
        raise UnusableHeadsError(f"{str(file)!r}: expected an object of JSON, got {type(read).__name__}")
    return read
