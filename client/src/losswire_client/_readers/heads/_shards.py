"""Tensors of one or several files of safetensors, which are read one by one."""

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - by which numpy knows bfloat16
import numpy.typing as npt

from losswire_client._install import missing

SUFFIX = ".safetensors"
INDEX = "model.safetensors.index.json"


class Shards:
    """Which file has which tensor.

    Args:
        files: The files, by the names of their tensors.
        metadata: Texts of a single file.
    """

    def __init__(self, files: Mapping[str, Path], metadata: Mapping[str, str]) -> None:
        self._files = files
        self.metadata = metadata

    @property
    def names(self) -> Collection[str]:
        return self._files.keys()

    def read(self, name: str) -> npt.NDArray[Any]:
        """The elements of a tensor. The file is mapped, so nothing else of it is read.

        Raises:
            ValueError: The file is missing or damaged, or does not have the tensor.
        """
        with _opened(self._files[name]) as file:
            try:
                array: npt.NDArray[Any] = file.get_tensor(name)
            except Exception as error:  # of the library, for whatever is wrong with the tensor
                raise ValueError(f"tensor {name} of {self._files[name].name}: {error}") from error
        return array


def of_file(path: Path) -> Shards:
    with _opened(path) as file:
        return Shards(dict.fromkeys(file.keys(), path), file.metadata() or {})


def of_folder(folder: Path) -> Shards:
    """The tensors of a checkpoint: those of its index, or of all of its files."""
    index = folder / INDEX
    if index.exists():
        _check_library()
        from losswire_client._readers._safetensors import weight_map

        try:
            parts = weight_map(index)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{INDEX}: expected an index of a checkpoint in JSON: {error}") from error
        return Shards({name: folder / part for name, part in parts.items()}, {})
    paths = sorted(folder.glob(f"*{SUFFIX}"))
    if not paths:
        raise ValueError(f"expected {INDEX} or files *{SUFFIX} in the folder, got neither")
    files: dict[str, Path] = {}
    for path in paths:
        with _opened(path) as file:
            files |= dict.fromkeys(file.keys(), path)
    return Shards(files, {})


def _opened(path: Path) -> Any:
    _check_library()
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, "numpy")
    except SafetensorError as error:
        raise ValueError(f"expected a file of safetensors, got {path.name}: {error}") from error


def _check_library() -> None:
    if find_spec("safetensors") is None:
        raise ImportError(missing("Head.load needs safetensors", "heads"))
