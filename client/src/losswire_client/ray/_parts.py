"""Cuts files into parts, which a worker reads, and parts into blocks, which are keys of the run.

Keys hang on nothing but the data: not on the cluster, on retries, or on what other files there are. So the rules by
which files are cut never change, and nobody can choose others.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from losswire_client._readers import Array
from losswire_client._readers._columns import ArrayFile, Column
from losswire_client._readers._dataset import told_of
from losswire_client._readers._names import INPUT_NAMES, TARGET_NAMES, choose
from losswire_client._readers._npz import NpzFile
from losswire_client._readers._parquet import ParquetTable, opened
from losswire_client._readers._tables import TableFile
from losswire_client.ray._files import File
from losswire_client.ray._slices import Block, Rows, cut, names_in

BLOCK_NUMBERS = (
    2**24
)  # of the input, 64 MiB of float32: as many rows are a block. Keys hang on it: it must never change


class Names(NamedTuple):
    """The names of columns; None for the usual ones, or for no such column."""

    input: str | None = None
    target: str | None = None
    sample_weight: str | None = None
    slice: str | None = None


class Part(NamedTuple):
    """What a worker reads from its first row to its last: a row group of a Parquet file, or an ``.npz`` file."""

    file: File
    group: int | None
    names: Names

    @property
    def name(self) -> str:
        return self.file.name if self.group is None else f"{self.file.name}:{self.group}"

    def blocks(self) -> Iterator[Block]:
        """Its rows, block by block.

        Raises:
            FileError: The file cannot be read, or has no such columns.
        """
        with _opened(self.file) as file, _told(self.file, file, self.group) as arrays:
            columns = _columns(arrays, self.names)
            size = _block_rows(columns["input"])
            for number, chunks in enumerate(_chunks(columns, size)):
                yield from cut(f"{self.name}:{number}", Rows(**chunks))

    def keys(self, arrays: ArrayFile) -> Iterator[str]:
        """The keys of its blocks. Of the rows only slices are read, if there are any."""
        columns = _columns(arrays, self.names)
        rows, size = columns["input"].shape[0], _block_rows(columns["input"])
        names = [f"{self.name}:{number}" for number in range(-(-rows // size))]
        if "slice" not in columns:
            return iter(names)
        slices = columns["slice"].chunks(size)
        return (f"{name}:{each}" for name, chunk in zip(names, slices, strict=True) for each in names_in(chunk))


def parts_of(file: File, names: Names) -> Iterator[tuple[Part, list[str]]]:
    """The parts of a file, each with its keys.

    Raises:
        FileError: The file cannot be read, or has no such columns.
    """
    with _opened(file) as source:
        for group in range(source.num_row_groups) if file.is_parquet else (None,):
            part = Part(file, group, names)
            with _told(file, source, group) as arrays:
                yield part, list(part.keys(arrays))


@contextmanager
def _opened(file: File) -> Iterator[Any]:
    """An open Parquet file, or the path of an ``.npz`` file on this machine."""
    with told_of(file.name, (ValueError,)):
        if file.is_parquet:
            with file.filesystem.open_input_file(file.path) as source:
                yield opened(source)
        elif file.filesystem.type_name == "local":
            yield Path(file.path)
        else:  # a zip is read here and there
            with file.filesystem.open_input_stream(file.path) as source, NamedTemporaryFile(suffix=".npz") as copy:
                shutil.copyfileobj(source, copy, 2**20)
                copy.flush()
                yield Path(copy.name)


@contextmanager
def _told(file: File, source: Any, group: int | None) -> Iterator[ArrayFile]:
    """The arrays of a part, whose errors name the file."""
    kind: type[ArrayFile] = TableFile if file.is_parquet else NpzFile
    with told_of(file.name, kind.errors):
        arrays = TableFile(ParquetTable(source, group)) if file.is_parquet else NpzFile(source)
        yield arrays


def _columns(file: ArrayFile, names: Names) -> dict[str, Column]:
    chosen = {
        "input": choose(file, names.input, INPUT_NAMES, "input="),
        "target": choose(file, names.target, TARGET_NAMES, "target="),
    }
    for argument in ("sample_weight", "slice"):
        if name := getattr(names, argument):
            chosen[argument] = choose(file, name, (), f"{argument}=")
    if file.has_sequences(chosen["input"]):
        raise ValueError(f"{chosen['input']} has lists of lists: expected a list of numbers a row, one for each class")
    columns = {argument: file.column(name) for argument, name in chosen.items()}
    for argument, column in columns.items():
        if column.shape[0] != columns["input"].shape[0]:
            there = f"{chosen['input']} has {columns['input'].shape[0]}"
            raise ValueError(f"{chosen[argument]} has {column.shape[0]} rows, and {there}")
    return columns


def _block_rows(input: Column) -> int:
    return max(1, BLOCK_NUMBERS // max(1, prod(input.shape[1:])))


def _chunks(columns: dict[str, Column], rows: int) -> Iterator[dict[str, Array]]:
    for arrays in zip(*(column.chunks(rows) for column in columns.values()), strict=True):
        yield dict(zip(columns, arrays, strict=True))
