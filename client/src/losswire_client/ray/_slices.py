"""Rows, and the blocks that they are cut into by their slice."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from losswire_client._readers import Array


class Rows(NamedTuple):
    """The arguments of a loss, and the slice of each row; None for what there is not."""

    input: Array | None = None
    target: Array | None = None
    sample_weight: Array | None = None
    slice: Array | None = None

    def taken(self, chosen: Array) -> "Rows":
        return Rows(*(None if array is None else array[chosen] for array in self))


class Block(NamedTuple):
    """Rows that count under one key."""

    key: str
    slice: str
    rows: Rows


def cut(name: str, rows: Rows) -> Iterator[Block]:
    """The rows of each slice, whose name ends the key; all rows if there are no slices, since a key has one slice.

    Raises:
        ValueError: The slices are no names.
    """
    if rows.slice is None:
        yield Block(name, "", rows)
        return
    values, of_row = np.unique(rows.slice, return_inverse=True)
    if not all(isinstance(value, str | np.integer | int) for value in values):
        raise ValueError(f"expected names of slices, texts or integers, got {rows.slice.dtype}")
    if len(values) == 1:
        yield Block(f"{name}:{values[0]}", str(values[0]), rows)
        return
    for number, value in enumerate(values):
        yield Block(f"{name}:{value}", str(value), rows.taken(np.flatnonzero(of_row == number)))
