"""``.npz``, as of ``numpy.savez`` and ``numpy.savez_compressed``: a zip of ``.npy`` files."""

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from losswire_client.cli.readers._columns import Array, slices

# Of a zip's local header, which stands before a member: all but the lengths of the name and of the extra field.
LOCAL_HEADER = struct.Struct("<26x2H")


class NpzFile:
    errors = (ValueError, EOFError, struct.error, zlib.error, zipfile.BadZipFile, RuntimeError)  # the last if encrypted

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive = zipfile.ZipFile(path)
        members = (info for info in self._archive.infolist() if info.filename.endswith(".npy"))
        self._members = {info.filename.removesuffix(".npy"): info for info in members}
        self.names = self._members.keys()

    def column(self, name: str) -> "NpyColumn":
        info = self._members[name]
        stored = info.compress_type == zipfile.ZIP_STORED
        return NpyColumn(name, partial(self._open_stored if stored else self._archive.open, info))

    def close(self) -> None:
        self._archive.close()

    def _open_stored(self, info: zipfile.ZipInfo) -> IO[bytes]:
        """The file itself where a member that is not compressed begins: half the copies of reading through the zip."""
        file = self._path.open("rb")
        file.seek(info.header_offset)
        lengths = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        file.seek(sum(lengths), 1)
        return file


class NpyColumn:
    """A ``.npy`` file, which may come out of a decompressor."""

    def __init__(self, name: str, open: Callable[[], IO[bytes]]) -> None:
        self._name = name
        self._open = open
        with open() as file:
            self.shape, self._dtype = self._read_header(file)

    def chunks(self, rows: int) -> Iterator[Array]:
        with self._open() as file:
            self._read_header(file)
            for part in slices(self.shape[0], rows):
                yield self._read(file, part.stop - part.start)

    def _read(self, file: IO[bytes], rows: int) -> Array:
        chunk = np.empty((rows, *self.shape[1:]), self._dtype)
        data = chunk.reshape(-1).view(np.uint8)
        if file.readinto(data) != data.nbytes:  # type: ignore[attr-defined]
            raise EOFError(f"{self._name} ends before its last row")
        return chunk

    def _read_header(self, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
        read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = read(file)
        if not shape:
            raise ValueError(f"{self._name} is one number, without rows")
        if by_columns:
            raise ValueError(f"{self._name} is stored column by column: save numpy.ascontiguousarray of it")
        if dtype.hasobject:
            raise ValueError(f"{self._name} holds Python objects, which are not read")
        return shape, dtype
