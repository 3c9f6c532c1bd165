"""The databases that runs are kept in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psycopg

from tests.server.runs.postgresql import postgres  # without root, and without a service

SIZE = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE 'losswire_%' AND relkind = 'r'"


class Store(NamedTuple):
    """An empty database.

    Attributes:
        name: What it is.
        place: For ``--runs``.
        bytes: How many it takes on disk, once the store is closed.
    """

    name: str
    place: str
    bytes: Callable[[], int]


@contextmanager
def sqlite() -> Iterator[Store]:
    with TemporaryDirectory() as folder:
        file = Path(folder, "runs.db")
        yield Store("SQLite", str(file), lambda: sum(each.stat().st_size for each in Path(folder).iterdir()))


@contextmanager
def postgresql() -> Iterator[Store]:
    def size() -> int:
        with psycopg.connect(place) as connection:
            row = connection.execute(SIZE).fetchone()
        return int(row[0]) if row else 0

    with postgres() as running:
        place = running.url()
        yield Store("PostgreSQL", place, size)


STORES = {"sqlite": sqlite, "postgresql": postgresql}
