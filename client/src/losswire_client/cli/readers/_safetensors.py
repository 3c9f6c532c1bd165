"""``.safetensors``, as of ``safetensors.numpy.save_file`` and of other libraries."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open

from losswire_client.cli.readers._columns import Array, slices

# Those that numpy has.
DTYPES = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}


class SafetensorsFile:
    errors = (SafetensorError, ValueError)

    def __init__(self, path: Path) -> None:
        # It maps the file. The backend that does not, reads all of an array for each slice of it.
        self._file = cast(Any, safe_open(path, "numpy"))
        self.names: list[str] = self._file.keys()

    def column(self, name: str) -> "SafetensorsColumn":
        return SafetensorsColumn(name, self._file.get_slice(name))

    def close(self) -> None:
        self._file.__exit__(None, None, None)  # it has no other way


class SafetensorsColumn:
    def __init__(self, name: str, tensor: Any) -> None:
        self._tensor = tensor
        self.shape = tuple(tensor.get_shape())
        if not self.shape:
            raise ValueError(f"{name} is one number, without rows")
        if tensor.get_dtype() not in DTYPES:
            raise ValueError(f"{name} is of dtype {tensor.get_dtype()}, which is not read")

    def chunks(self, rows: int) -> Iterator[Array]:
        return (self._tensor[part] for part in slices(self.shape[0], rows))
