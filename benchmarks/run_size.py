"""Measures how many bytes a key of a run takes on disk, in SQLite and in PostgreSQL: for sizing.

Losses are those of a model that is sometimes wrong, in float32, with weights of 1. What a key takes grows with the
number of its rows only until their losses have every exponent. Run it with ``make bench-run-size``.
"""

import argparse
import asyncio
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psycopg
from rich.console import Console
from rich.table import Table

from deploy.stack.database import postgres
from losswire.exact_sum import ExactSum
from losswire.exact_sums import ExactSums
from losswire_server.runs.records import Entry, NewRun
from losswire_server.runs.runs import Runs

ROWS = (1, 64, 4096)  # of a key
DISTINCT = 64  # sums, which take turns
BUNDLE = 500  # keys that are committed together
RELATIONS = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'losswire_run%'"
DIGEST = "d" * 64


def main() -> None:
    """Prints a table: rows of a key, bytes of its sums, bytes on disk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=50_000, help="of a run (%(default)s)")
    parser.add_argument("--smoke", action="store_true", help="few keys of one size, to see that it works")
    given = parser.parse_args()
    count, several = (500, ROWS[:1]) if given.smoke else (given.keys, ROWS)
    table = Table("rows of a key", "bytes of its sums", "SQLite: bytes a key", "PostgreSQL: bytes a key")
    for rows in several:
        every = [sums(rows, seed) for seed in range(DISTINCT)]
        size = sum(len(each.to_message().SerializeToString()) for each in every) / DISTINCT
        measured = [in_sqlite(every, count), in_postgresql(every, count)]
        table.add_row(f"{rows:,}", f"{size:,.0f}", *(f"{each / count:,.0f}" for each in measured))
    console = Console(width=120)
    console.print(f"{platform.processor() or platform.machine()}, {count:,} keys a run")
    console.print(table)


def sums(rows: int, seed: int) -> ExactSums:
    """Sums of rows' losses: small where the model is right, a few nats where it is not."""
    losses = np.random.default_rng(seed).exponential(1.0, rows).astype(np.float32) ** 3
    wide = losses.astype(np.float64)
    of = ExactSum.of
    ones = of([1.0] * rows)
    return ExactSums(of(wide.tolist()), ones, of((wide * wide).tolist()), of(wide.tolist()), ones, rows, 0, rows // 2)


def in_sqlite(every: Sequence[ExactSums], count: int) -> int:
    """The size of the file once the store is closed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "runs.db"
        with opened(str(file)) as runs:
            fill(runs, every, count)
        return sum(each.stat().st_size for each in Path(folder).iterdir())


def in_postgresql(every: Sequence[ExactSums], count: int) -> int:
    """The size of the tables with their indices."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        inner = Path(folder) / "postgres"
        inner.mkdir()
        with postgres(inner) as database:
            with opened(database.url) as runs:
                fill(runs, every, count)
            with psycopg.connect(database.url) as connection:
                found = connection.execute(RELATIONS).fetchone()
    return int(found[0]) if found else 0


@contextmanager
def opened(place: str) -> Iterator[Runs]:
    runs = Runs(place)
    runs.open()
    try:
        yield runs
    finally:
        runs.close()


def fill(runs: Runs, every: Sequence[ExactSums], count: int) -> None:
    """Adds keys as long as names of files are."""
    entries = [Entry("run", f"part-{n:05}.parquet", "", DIGEST, every[n % DISTINCT], None) for n in range(count)]

    async def add() -> None:
        await runs.create(NewRun("run", b"spec", DIGEST, False, {}, None))
        for first in range(0, count, BUNDLE):
            await runs.commit(entries[first : first + BUNDLE])

    asyncio.run(add())


if __name__ == "__main__":
    main()
