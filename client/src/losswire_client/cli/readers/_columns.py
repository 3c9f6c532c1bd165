"""What every format is read as."""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]


class Batch(NamedTuple):
    """Some rows of a dataset: the arguments of a loss."""

    input: Array
    target: Array


class Column(Protocol):
    """An array whose first dimension is the rows, of which only some are in memory at a time."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def chunks(self, rows: int) -> Iterator[Array]:
        """All of it from the first row on, so many rows at a time, and what is left in the end."""


class ArrayFile(Protocol):
    """A file of named arrays, and the errors that say that it is damaged."""

    @property
    def errors(self) -> tuple[type[Exception], ...]: ...

    @property
    def names(self) -> Collection[str]: ...

    def column(self, name: str) -> Column: ...

    def close(self) -> None: ...


def slices(row_count: int, rows: int) -> Iterator[slice]:
    """The slices of so many rows that make up all."""
    return (slice(start, min(start + rows, row_count)) for start in range(0, row_count, rows))
