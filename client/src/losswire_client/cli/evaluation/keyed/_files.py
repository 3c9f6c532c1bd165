"""The files of a run: their blocks of rows, and the keys of these."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from typer import BadParameter

from losswire.errors import FieldError
from losswire.runs import check_key
from losswire_client._keys import Reading, Terms, key_of
from losswire_client._readers import Dataset, FileError, Source, open_dataset
from losswire_client.cli._failures import CommandError
from losswire_client.cli.evaluation._hints import check_shapes
from losswire_client.cli.evaluation._kinds import kind_of, needs_logarithm
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation.keyed._contents import fingerprint_of, name_of
from losswire_client.cli.evaluation.keyed._labels import groups

BLOCK_BYTES = 2**23  # a few slabs; a commit takes little time beside it
MOST_BLOCK_ROWS = 2**20


@dataclass(frozen=True)
class KeyedFile:
    """A file, and the keys of its blocks.

    Attributes:
        source: The file.
        name: Its name in keys.
        fingerprint: Digits that tell it from other files of its name, and say how it is read.
        row_count: How many rows it has.
        block_rows: How many of them a block has; the last block may have fewer.
        is_seekable: Whether blocks in the middle can be read without all blocks before them.
        with_logarithm: Whether the logarithm of its input is evaluated.
        slice: The slice of all blocks.
        groups: The slices of each block, if rows have them by an array. Then a block has a key for each of them, with
            the slice at its end.
    """

    source: Source
    name: str
    fingerprint: str
    row_count: int
    block_rows: int
    is_seekable: bool
    with_logarithm: bool
    slice: str = ""
    groups: Sequence[Sequence[str]] | None = field(default=None, repr=False)

    @property
    def block_count(self) -> int:
        return -(-self.row_count // self.block_rows)

    def first_row(self, block: int) -> int:
        return block * self.block_rows

    def keys(self, block: int) -> Mapping[str, str]:
        """The keys of a block, with the slice of each."""
        key = key_of(self.name, self.fingerprint, self.first_row(block))
        if self.groups is None:
            return {key: self.slice}
        return {f"{key}:{group}": group for group in self.groups[block]}

    def all_keys(self) -> Iterator[str]:
        return (key for block in range(self.block_count) for key in self.keys(block))

    def told_rows(self, block: int) -> str:
        """The rows of a block, for people to read."""
        return f"rows {self.first_row(block)} to {min(self.first_row(block + 1), self.row_count) - 1}"


@dataclass
class Survey:
    """The files of a command.

    Attributes:
        files: Files that can be evaluated.
        failures: The errors of the others.
    """

    files: list[KeyedFile] = field(default_factory=list)
    failures: list[tuple[Path, CommandError | FileError]] = field(default_factory=list)

    def all_keys(self) -> Iterator[str]:
        return (key for file in self.files for key in file.all_keys())


def survey(sources: Sequence[Source], plan: Plan, terms: Terms, root: Path | None) -> Survey:
    """Opens each file, for its rows and its name in keys.

    Raises:
        BadParameter: Two files have one name, or are one file.
    """
    found = Survey()
    for source in sources:
        try:
            file = _keyed(source, plan, terms, root)
            check_keys(file)
            found.files.append(file)
        except (CommandError, FileError) as error:
            found.failures.append((source.path, error))
    check_each_is_another(found.files)
    return found


def usual_block_rows(sources: Sequence[Source], plan: Plan) -> int:
    """How many rows of the first file that can be opened make a suitable block: a power of two."""
    for source in sources:
        try:
            with closing(open_dataset(source, plan.selection)) as dataset:
                row_bytes = dataset.row_bytes * dataset.input_shape[0] // max(1, dataset.file_rows)
        except FileError:
            continue  # its error is reported when its turn comes
        rows = min(MOST_BLOCK_ROWS, max(1, BLOCK_BYTES // max(1, row_bytes)))
        return 1 << rows.bit_length() - 1
    return 1


def _keyed(source: Source, plan: Plan, terms: Terms, root: Path | None) -> KeyedFile:
    with closing(open_dataset(source, plan.selection)) as dataset:
        if plan.loss.has_classes:
            check_shapes(dataset, plan.head)
        with_logarithm = needs_logarithm(plan.loss, kind_of(dataset, plan))
        reading = _reading(dataset, plan, terms, with_logarithm=with_logarithm)
        name = name_of(source, plan.selection.split, root)
        block_rows = terms.rows(prod(dataset.input_shape) // max(1, dataset.file_rows))
        return KeyedFile(
            source=source,
            name=name,
            fingerprint=fingerprint_of(source, plan.selection.split, reading),
            row_count=dataset.file_rows,
            block_rows=block_rows,
            is_seekable=dataset.is_seekable,
            with_logarithm=with_logarithm,
            slice=terms.slice_of(name, source.path.absolute().parent.name),
            groups=groups(dataset, terms.array, block_rows) if terms.array else None,
        )


def check_keys(file: KeyedFile) -> None:
    """Refuses what cannot be a key or a slice, before there is a run for it.

    Raises:
        FileError: It cannot.
    """
    last = key_of(file.name, file.fingerprint, file.first_row(max(0, file.block_count - 1)))
    groups = {group for block in file.groups or () for group in block}
    for name in (file.slice, last, *(f"{last}:{group}" for group in groups)):
        try:
            check_key(name, "key")
        except FieldError as error:
            raise FileError(file.source.path, f"its keys and slices: {error.problem}") from error


def _reading(dataset: Dataset, plan: Plan, terms: Terms, *, with_logarithm: bool) -> Reading:
    selection = plan.selection
    return Reading(
        input=dataset.input_name,
        target=dataset.target_name,
        slice=terms.array,
        mask=selection.mask_name,
        classes_last=selection.classes_last,
        shift=selection.shift,
        logarithm=with_logarithm,
        wire_dtype=plan.options.get("wire_dtype"),
        head=plan.head.digest if plan.head else None,
    )


def check_each_is_another(files: Sequence[KeyedFile]) -> None:
    """Refuses files that have one name in keys, or are one file.

    Raises:
        BadParameter: There are such files.
    """
    names: dict[str, Path] = {}
    places: dict[tuple[str, ...], Path] = {}
    for file in files:
        path = file.source.path
        if (same := places.setdefault(_place(file.source), path)) is not path:
            raise BadParameter(f"{same} and {path} are one file, whose rows would count twice", param_hint="FILE")
        if (other := names.setdefault(file.name, path)) is not path:
            problem = f"{other} and {path} both have the name {file.name} in keys"
            raise BadParameter(f"{problem}: expected a folder from which their paths differ", param_hint="--root")


def _place(source: Source) -> tuple[str, ...]:
    """Where the rows of a file are, whatever links lead there."""
    return tuple(os.path.realpath(path) for path in source if path)
