"""``.safetensors``, as ``safetensors.numpy.save_file`` and other libraries write it. Also in parts with an index."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open

from losswire_client._readers._columns import Array, ArrayFile, slices

# The dtypes that numpy has, with `ml_dtypes`.
DTYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}


class SafetensorsFile(ArrayFile):
    errors = (SafetensorError, ValueError)

    def __init__(self, path: Path) -> None:
        # This backend maps the file. The other backend reads the whole array for each slice.
        self._file = cast(Any, safe_open(path, "numpy"))
        self.names: list[str] = self._file.keys()

    def column(self, name: str) -> "SafetensorsColumn":
        return SafetensorsColumn(name, self._file.get_slice(name))

    def close(self) -> None:
        self._file.__exit__(None, None, None)  # there is no other way to close it


class SafetensorsIndex(ArrayFile):
    """An index of the arrays in files next to it: ``{"weight_map": {"logits": "model-00001-of-00002..."}}``."""

    errors = SafetensorsFile.errors

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._parts: dict[str, str] = weight_map(path)
        self._opened = ExitStack()
        self.names = self._parts.keys()

    def column(self, name: str) -> "SafetensorsColumn":
        part = self._folder / self._parts[name]
        if not part.is_file():
            raise ValueError(f"{name} is in {part.name}, which is not in the index's folder")
        file = SafetensorsFile(part)
        self._opened.callback(file.close)
        if name not in file.names:
            raise ValueError(f"{name} is not in {part.name}, where the index has it")
        return file.column(name)

    def close(self) -> None:
        self._opened.close()


class SafetensorsColumn:
    def __init__(self, name: str, tensor: Any) -> None:
        self._tensor = tensor
        self.shape = tuple(tensor.get_shape())
        if not self.shape:
            raise ValueError(f"{name} is one number, without rows")
        if tensor.get_dtype() not in DTYPES:
            raise ValueError(f"{name} is of dtype {tensor.get_dtype()}, which is not read")

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        return (self._tensor[part] for part in slices(self.shape[0], rows, start))


def weight_map(path: Path) -> dict[str, str]:
    """The file of each array. All must be next to the index, so that it cannot point at other files of the machine."""
    content = json.loads(path.read_text("utf-8"))
    parts = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(parts, dict):
        raise ValueError("expected a weight_map, from names of arrays to names of files")  # noqa: TRY004 - the file's fault
    for part in parts.values():
        if not isinstance(part, str) or Path(part).name != part:
            raise ValueError(f"expected names of files in the index's folder in its weight_map, got {part!r}")
    return parts
