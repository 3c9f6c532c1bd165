"""Rows by the groups that an array of their file names."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from losswire_client._readers import Array, Dataset, PlacedBatch

OPTION = "--slice-by"


def groups(dataset: Dataset, name: str, block_rows: int) -> list[list[str]]:
    """The groups of the rows of each block."""
    return [sorted({_text(label) for label in np.unique(part)}) for part in dataset.labels(name, OPTION, block_rows)]


def by_group(batch: PlacedBatch, labels: Array, first_row: int) -> Iterator[tuple[str, PlacedBatch]]:
    """The rows of each group of a block, even if it has none.

    Args:
        batch: The rows of a block.
        labels: The group of each of the file's rows in the block.
        first_row: The first of the file's rows in the block.
    """
    found, inverse = np.unique(labels, return_inverse=True)
    texts = np.array([_text(label) for label in found], object)
    file_rows = batch.input_positions.places(np.arange(len(batch.target)))[0] - first_row
    of_rows = texts[inverse[file_rows]]
    for text in sorted({*texts}):
        yield text, _taken(batch, np.flatnonzero(of_rows == text))


def _taken(batch: PlacedBatch, rows: Array) -> PlacedBatch:
    places = (batch.input_positions, batch.target_positions)
    kept = [each._replace(indices=rows if each.indices is None else each.indices[rows]) for each in places]
    return PlacedBatch(batch.input[rows], batch.target[rows], *kept)


def _text(label: Any) -> str:
    """A label as text, the same for integers, numbers and digits of any format."""
    if isinstance(label, bytes):
        return label.decode(errors="replace")
    if isinstance(label, np.floating) and np.isfinite(label) and label == np.floor(label):
        return str(int(label))
    return str(label)
