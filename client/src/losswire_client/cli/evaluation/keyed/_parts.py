"""Reads the blocks that are missing, as parts that are evaluated under a key each."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import repeat, takewhile
from typing import NamedTuple

from losswire_client._readers import Array, Dataset, FileError, PlacedBatch, open_dataset
from losswire_client.cli.evaluation._batches import as_loss_takes
from losswire_client.cli.evaluation._plan import Plan
from losswire_client.cli.evaluation.keyed._files import KeyedFile
from losswire_client.cli.evaluation.keyed._labels import OPTION, by_group
from losswire_client.cli.evaluation.keyed._missing import MissingKeys, Stretch

Fail = Callable[[KeyedFile, FileError], None]


class Part(NamedTuple):
    """Rows that are evaluated under one key."""

    file: KeyedFile
    dataset: Dataset
    block: int
    key: str
    slice: str
    batch: PlacedBatch


def parts(missing: MissingKeys, plan: Plan, array: str | None, failed: set[str], fail: Fail) -> Iterator[Part]:
    """All parts that are missing.

    Args:
        missing: The keys.
        plan: What to do with each file.
        array: Name of the array that names the slice of each row, if one does.
        failed: Names of files of which nothing more is read.
        fail: Takes the error of a file.
    """
    with ExitStack() as opened:
        name, dataset = None, None
        for stretch in missing.stretches():
            file = stretch.file
            if file.name in failed:
                continue
            try:
                if dataset is None or name != file.name:
                    opened.close()
                    dataset, name = opened.enter_context(closing(open_dataset(file.source, plan.selection))), file.name
                yield from takewhile(
                    lambda part: part.file.name not in failed, _of_stretch(dataset, stretch, missing, plan, array)
                )
            except FileError as error:
                fail(file, error)


def _of_stretch(
    dataset: Dataset, stretch: Stretch, missing: MissingKeys, plan: Plan, array: str | None
) -> Iterator[Part]:
    file, blocks = stretch
    wanted, rows, start = set(blocks), file.block_rows, file.first_row(blocks[0])
    labels: Iterator[Array | None] = dataset.labels(array, OPTION, rows, start) if array else repeat(None)
    read = zip(range(blocks[0], blocks[-1] + 1), dataset.blocks(rows, start), labels, strict=False)
    for block, batch, names in read:
        keys = missing.of_next(file, block) if block in wanted else []
        if keys:
            prepared = as_loss_takes(batch, plan, with_logarithm=file.with_logarithm)
            for key, part_slice, rows_of_key in _keyed(file, block, prepared, names):
                if key in keys:
                    yield Part(file, dataset, block, key, part_slice, rows_of_key)


def _keyed(
    file: KeyedFile, block: int, batch: PlacedBatch, labels: Array | None
) -> Iterator[tuple[str, str, PlacedBatch]]:
    """The keys of a block, each with its slice and its rows."""
    rows = {file.slice: batch} if labels is None else dict(by_group(batch, labels, file.first_row(block)))
    for key, part_slice in file.keys(block).items():
        yield key, part_slice, rows[part_slice]
