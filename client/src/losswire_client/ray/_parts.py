"""Cuts files into blocks, which are keys of the run, and into parts, which are the blocks that a worker reads.

Keys hang on nothing but the file and the labels of the run: not on the cluster, on retries, on what other files there
are, or on the row groups of a file, by which only workers share the work.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from math import prod
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from losswire_client._keys import Reading, Terms, fingerprint, key_of
from losswire_client._readers import Array
from losswire_client._readers._columns import ArrayFile, Column
from losswire_client._readers._dataset import told_of
from losswire_client._readers._names import INPUT_NAMES, TARGET_NAMES, choose
from losswire_client._readers._npz import NpzFile
from losswire_client._readers._parquet import ParquetTable, opened
from losswire_client._readers._tables import TableFile
from losswire_client.ray._files import File
from losswire_client.ray._slices import Block, Rows, cut, names_in


class Names(NamedTuple):
    """The names of columns; None for the usual ones, or for no such column."""

    input: str | None = None
    target: str | None = None
    sample_weight: str | None = None
    slice: str | None = None


class Part(NamedTuple):
    """What a worker reads from its first row to its last: blocks that begin in one row group, or an ``.npz`` file."""

    file: File
    fingerprint: str
    rows: range  # the first row of each block
    slice: str
    names: Names

    def blocks(self) -> Iterator[Block]:
        """Its rows, block by block.

        Raises:
            FileError: The file cannot be read, or has no such columns.
        """
        with _opened(self.file) as source, _told(self.file, source) as arrays:
            columns = _columns(arrays, self.names)
            for row, chunks in zip(self.rows, _chunks(columns, self.rows.step, self.rows.start), strict=False):
                yield from cut(key_of(self.file.name, self.fingerprint, row), Rows(**chunks), self.slice)

    def keys(self, arrays: ArrayFile) -> Iterator[str]:
        """The keys of its blocks. Of the rows only slices are read, if there are any."""
        names = [key_of(self.file.name, self.fingerprint, row) for row in self.rows]
        if self.names.slice is None:
            return iter(names)
        slices = arrays.column(self.names.slice).chunks(self.rows.step, self.rows.start)
        return (f"{name}:{each}" for name, chunk in zip(names, slices, strict=False) for each in names_in(chunk))


def parts_of(file: File, names: Names, terms: Terms) -> Iterator[tuple[Part, list[str]]]:
    """The parts of a file, each with its keys.

    Raises:
        FileError: The file cannot be read, or has no such columns.
    """
    with _opened(file) as source, _told(file, source) as arrays:
        count, *row = _columns(arrays, names)["input"].shape
        digits, its_slice = _fingerprint(file, arrays, names), terms.slice_of(file.name, file.folder)
        for rows in _begun(_ends(file, source, count), count, terms.rows(prod(row))):
            part = Part(file, digits, rows, its_slice, names)
            yield part, list(part.keys(arrays))


def _fingerprint(file: File, arrays: ArrayFile, names: Names) -> str:
    chosen = _chosen(arrays, names)
    optional = chosen.get("sample_weight"), chosen.get("slice")
    with file.filesystem.open_input_file(file.path) as source:
        return fingerprint([source], Reading(chosen["input"], chosen["target"], *optional))


def _ends(file: File, source: Any, count: int) -> Iterable[int]:
    """Where what one worker reads ends, as a number of rows: at the ends of row groups, or of the file."""
    if not file.is_parquet:
        return [count]
    return accumulate(source.metadata.row_group(group).num_rows for group in range(source.num_row_groups))


def _begun(ends: Iterable[int], count: int, size: int) -> Iterator[range]:
    """The first rows of the blocks that begin before each end, and not before the last one."""
    start = 0
    for end in ends:
        stop = -(-end // size) * size
        if start < stop:
            yield range(start, min(stop, count), size)
        start = stop


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
def _told(file: File, source: Any) -> Iterator[ArrayFile]:
    """The arrays of a file, whose errors name it."""
    kind: type[ArrayFile] = TableFile if file.is_parquet else NpzFile
    with told_of(file.name, kind.errors):
        yield TableFile(ParquetTable(source)) if file.is_parquet else NpzFile(source)


def _chosen(file: ArrayFile, names: Names) -> dict[str, str]:
    """The name of the array for each argument."""
    chosen = {
        "input": choose(file, names.input, INPUT_NAMES, "input="),
        "target": choose(file, names.target, TARGET_NAMES, "target="),
    }
    others = {"sample_weight": names.sample_weight, "slice": names.slice}
    return chosen | {each: choose(file, name, (), f"{each}=") for each, name in others.items() if name}


def _columns(file: ArrayFile, names: Names) -> dict[str, Column]:
    chosen = _chosen(file, names)
    if file.has_sequences(chosen["input"]):
        raise ValueError(f"{chosen['input']} has lists of lists: expected a list of numbers a row, one for each class")
    columns = {argument: file.column(name) for argument, name in chosen.items()}
    for argument, column in columns.items():
        if column.shape[0] != columns["input"].shape[0]:
            there = f"{chosen['input']} has {columns['input'].shape[0]}"
            raise ValueError(f"{chosen[argument]} has {column.shape[0]} rows, and {there}")
    return columns


def _chunks(columns: dict[str, Column], rows: int, start: int) -> Iterator[dict[str, Array]]:
    for arrays in zip(*(column.chunks(rows, start) for column in columns.values()), strict=True):
        yield dict(zip(columns, arrays, strict=True))
