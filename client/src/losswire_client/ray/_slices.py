"""Rows, and the blocks that they are cut into by their slice."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from losswire_client._readers import Array


class Rows(NamedTuple):
    """The arguments of a loss, and the slice of each row; None for what there is not."""

    input: Array
    target: Array
    sample_weight: Array | None = None
    slice: Array | None = None

    def taken(self, chosen: Array) -> "Rows":
        """Some of the rows."""
        weight = None if self.sample_weight is None else self.sample_weight[chosen]
        return Rows(self.input[chosen], self.target[chosen], weight)


class Block(NamedTuple):
    """Rows that count under one key."""

    key: str
    slice: str
    rows: Rows


def cut(key: str, rows: Rows, slice: str = "") -> Iterator[Block]:
    """The rows of each slice, whose name ends the key, since a key has one slice; all rows if rows name no slices.

    Args:
        key: The key of all rows.
        rows: The rows.
        slice: The slice of all rows, if they name none.

    Raises:
        ValueError: The slices are no names.
    """
    if rows.slice is None:
        yield Block(key, slice, rows)
        return
    names = names_in(rows.slice)
    if len(names) == 1:
        yield Block(f"{key}:{names[0]}", names[0], rows)
        return
    of_row = np.unique(rows.slice, return_inverse=True)[1]
    for number, name in enumerate(names):
        yield Block(f"{key}:{name}", name, rows.taken(np.flatnonzero(of_row == number)))


def names_in(slices: Array) -> list[str]:
    """The names of the slices that some rows have.

    Raises:
        ValueError: They are no names.
    """
    values = np.unique(slices)
    if not all(isinstance(value, str | np.integer | int) for value in values):
        raise ValueError(f"expected names of slices, texts or integers, got {slices.dtype}")
    return [str(value) for value in values]
