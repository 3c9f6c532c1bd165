"""Reads the output layer of a checkpoint, or of a plain file."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from losswire.heads.checkpoints import (
    CONFIG,
    HeadPlace,
    NormPlace,
    UnknownHeadError,
    find_in_checkpoint,
    find_in_file,
)
from losswire_client._errors import InvalidArgumentError, invalid_argument, shown
from losswire_client._readers.heads._shards import Shards, of_file, of_folder

Array = npt.NDArray[Any]


class HeadContent(NamedTuple):
    """What a file says about a head: the arguments of `Head`.

    Attributes:
        weight: As of `Head`, like the others.
        bias: None if it has none.
        norm: Arguments of `Norm`; None if it has none.
        softcap: None if it has none.
        temperature: 1 if it has none.
    """

    weight: Array
    bias: Array | None
    norm: Mapping[str, Any] | None
    softcap: float | None
    temperature: float


def read_head(path: str | os.PathLike[str]) -> HeadContent:
    """Reads a head, and only its own tensors.

    Raises:
        InvalidArgumentError: There is no such file or folder, or no head is found in it.
        ImportError: The library ``safetensors`` is not installed.
    """
    if not isinstance(path, str | os.PathLike):
        raise invalid_argument("path", f"expected the path of a file or folder, got {shown(path)}")
    there = Path(path)
    try:
        shards = of_folder(there) if there.is_dir() else of_file(there)
        return _read(_find(there, shards), shards)
    except InvalidArgumentError:
        raise
    except (UnknownHeadError, OSError, ValueError) as error:
        raise invalid_argument("path", f"{str(there)!r}: {error}") from error


def _find(path: Path, shards: Shards) -> HeadPlace:
    if not path.is_dir():
        return find_in_file(shards.metadata, shards.names)
    return find_in_checkpoint(_config(path / CONFIG), shards.names)


def _config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{CONFIG}: expected JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{CONFIG}: expected an object of JSON, got {type(config).__name__}")  # noqa: TRY004 - the file's
    return config


def _read(place: HeadPlace, shards: Shards) -> HeadContent:
    weight = shards.read(place.weight)
    bias = shards.read(place.bias) if place.bias else None
    norm = None if place.norm is None else _norm(place.norm, shards)
    return HeadContent(weight, bias, norm, place.softcap, place.temperature)


def _norm(place: NormPlace, shards: Shards) -> dict[str, Any]:
    weight, bias = (shards.read(name) if name else None for name in (place.weight, place.bias))
    if place.adds_one and weight is not None:
        weight = 1 + (weight if weight.dtype == np.float64 else weight.astype(np.float32))
    return {"kind": place.kind, "eps": place.eps, "weight": weight, "bias": bias}
