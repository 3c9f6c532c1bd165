"""What a transaction reads of a run before it adds to it."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from sqlalchemy import Connection, bindparam, select

from losswire.exact_sums import ExactSums
from losswire_server.runs.database import sums
from losswire_server.runs.database.tables import classes, keys, slices
from losswire_server.runs.records import KeyRecord, Totals

IN_A_LIST = 1000  # values of one IN: SQLite takes 32,766

KEYS = select(keys.c.key, keys.c.slice, keys.c.sums, keys.c.committed_at)
KEYS = KEYS.where(keys.c.run_id == bindparam("run"), keys.c.key.in_(bindparam("some", expanding=True)))
SLICES = select(slices.c.slice, slices.c.key_count, slices.c.sums)
SLICES = SLICES.where(slices.c.run_id == bindparam("run"), slices.c.slice.in_(bindparam("some", expanding=True)))
CLASSES = select(classes.c.class_index, classes.c.sums)
CLASSES = CLASSES.where(
    classes.c.run_id == bindparam("run"), classes.c.class_index.in_(bindparam("some", expanding=True))
)

T = TypeVar("T", str, int)


def read_keys(connection: Connection, run: int, names: Iterable[str]) -> Iterator[KeyRecord]:
    """Those of some keys that count."""
    for some in lists(names):
        for key, slice_, data, committed_at in connection.execute(KEYS, {"run": run, "some": some}):
            yield KeyRecord(key, slice_, sums.from_bytes(data), committed_at)


def read_slices(connection: Connection, run: int, names: Iterable[str]) -> Iterator[tuple[str, Totals]]:
    for some in lists(names):
        for name, key_count, data in connection.execute(SLICES, {"run": run, "some": some}):
            yield name, Totals(key_count, sums.from_bytes(data))


def read_classes(connection: Connection, run: int, indices: Iterable[int]) -> Iterator[tuple[int, ExactSums]]:
    for some in lists(indices):
        for index, data in connection.execute(CLASSES, {"run": run, "some": some}):
            yield index, sums.from_bytes(data)


def lists(values: Iterable[T]) -> Iterator[list[T]]:
    """The values in order, in lists that one IN takes."""
    ordered = sorted(values)
    return (ordered[first : first + IN_A_LIST] for first in range(0, len(ordered), IN_A_LIST))
