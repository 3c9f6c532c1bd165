"""``.npz``, as ``numpy.savez`` and ``numpy.savez_compressed`` write it: a zip of ``.npy`` files."""

import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from losswire_client._readers._columns import Array, ArrayFile, Column, slices
from losswire_client._readers._npy import Header, MappedColumn, read_header

# The local header before each member of a zip. Only the lengths of the name and of the extra field are unpacked.
LOCAL_HEADER = struct.Struct("<26x2H")


class NpzFile(ArrayFile):
    errors = (ValueError, EOFError, struct.error, zlib.error, zipfile.BadZipFile, RuntimeError)  # the last if encrypted

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive = zipfile.ZipFile(path)
        members = (info for info in self._archive.infolist() if info.filename.endswith(".npy"))
        self._members = {info.filename.removesuffix(".npy"): info for info in members}
        self.names = self._members.keys()
        self.is_seekable = all(map(_is_plain, self._members.values()))

    def column(self, name: str) -> Column:
        info = self._members[name]
        if _is_plain(info):
            return self._mapped(name, info)
        with self._archive.open(info) as file:
            header = read_header(name, file)
            return _unpacked(name, file, header) if header.column_major else PackedColumn(self._archive, info, header)

    def close(self) -> None:
        self._archive.close()

    def _mapped(self, name: str, info: zipfile.ZipInfo) -> MappedColumn:
        """An uncompressed member, mapped at its place in the file."""
        with self._path.open("rb") as file:
            file.seek(info.header_offset)
            lengths = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
            file.seek(sum(lengths), 1)
            return MappedColumn(name, file, read_header(name, file))


class PackedColumn:
    """A compressed ``.npy`` file, read from the first row to the last."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: Header) -> None:
        self.shape = header.shape
        self._archive = archive
        self._info = info
        self._name = info.filename.removesuffix(".npy")

    def chunks(self, rows: int, start: int = 0) -> Iterator[Array]:
        with self._archive.open(self._info) as file:
            header = read_header(self._name, file)
            file.seek(start * (header.nbytes // max(1, self.shape[0])), 1)
            for part in slices(self.shape[0], rows, start):
                yield self._read(file, np.empty((part.stop - part.start, *self.shape[1:]), header.dtype))

    def _read(self, file: IO[bytes], chunk: Array) -> Array:
        data = chunk.reshape(-1).view(np.uint8)
        if file.readinto(data) != data.nbytes:  # type: ignore[attr-defined]
            raise EOFError(f"{self._name} ends before its last row")
        return chunk


def _is_plain(info: zipfile.ZipInfo) -> bool:
    """Whether a member is neither compressed nor encrypted."""
    return info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1


def _unpacked(name: str, packed: IO[bytes], header: Header) -> MappedColumn:
    """Decompresses to disk first: a column-major array needs all its bytes even for its first row."""
    with TemporaryFile(prefix="losswire-") as file:
        shutil.copyfileobj(packed, file, 2**20)
        file.seek(0)
        return MappedColumn(name, file, header)
