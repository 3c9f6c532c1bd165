"""``.npy``, as ``numpy.save`` writes it: one array, which is mapped into memory. Also folders of such files."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from losswire_client._readers._columns import Array, ArrayFile, Shape, slices


class Header(NamedTuple):
    """The header before the elements.

    Attributes:
        column_major: Whether the elements of a column, and not of a row, are side by side.
    """

    shape: Shape
    column_major: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


class NpyFolder(ArrayFile):
    """Files in a folder. Each is an array with the name of the file."""

    errors = (ValueError, EOFError)

    def __init__(self, *paths: Path) -> None:
        self._paths = {path.stem: path for path in paths}
        self.names = self._paths.keys()

    def column(self, name: str) -> "MappedColumn":
        with self._paths[name].open("rb") as file:
            header = read_header(name, file)
            return MappedColumn(name, file, header)

    def close(self) -> None:
        """Does nothing: an array is unmapped when its last user is gone."""


class MappedColumn:
    """An array in a mapped file, from the file's position on. The operating system reads pages on demand.

    Column-major arrays are transposed chunk by chunk, so that never more than a chunk is copied.
    """

    def __init__(self, name: str, file: IO[bytes], header: Header) -> None:
        self.shape = header.shape
        start = file.tell()
        if file.seek(0, 2) - start < header.nbytes:
            raise EOFError(f"{name} ends before its last row")
        if header.nbytes:
            order = "F" if header.column_major else "C"
            self._array: Array = np.memmap(file, header.dtype, "r", start, header.shape, order)  # type: ignore[call-overload]
        else:
            self._array = np.empty(header.shape, header.dtype)

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        return (np.ascontiguousarray(self._array[part]) for part in slices(self.shape[0], rows, start))


def read_header(name: str, file: IO[bytes]) -> Header:
    """Reads the file up to the first element.

    Raises:
        ValueError: The file is no array, or an array without rows, or its elements are no numbers.
    """
    read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    header = Header(*read(file))
    if not header.shape:
        raise ValueError(f"{name} is one number, without rows")
    if header.dtype.kind == "V" and not header.dtype.names:
        raise ValueError(f"{name} holds bytes without a type, as numpy writes bfloat16: save it as float32")
    if header.dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are not read")
    return header
