"""Copies of runs, made as docs/deploy.md says while keys are added: each is of one moment, and a server takes it."""

import asyncio
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from losswire_server.runs.runs import Runs
from tests.documents import ROOT
from tests.processes import run
from tests.server.runs.making import commit, create, entry, opened, sums_of
from tests.server.runs.postgresql import Postgres

TEXT = (ROOT / "docs/deploy.md").read_text()
MANY = 100  # keys that are there before the copy


@contextmanager
def adding(runs: Runs) -> Iterator[Callable[[], int]]:
    """Adds keys, one after the other, for the length of a block, which is told how many there are."""
    stop, added = threading.Event(), [0]

    def add() -> None:
        while not stop.is_set():
            commit(runs, entry(f"k{added[0]}", 1.0))
            added[0] += 1

    create(runs)
    adder = threading.Thread(target=add)
    adder.start()
    try:
        while added[0] < MANY:
            stop.wait(0.01)
        yield lambda: added[0]
    finally:
        stop.set()
        adder.join()


def check_copy(place: str, least: int) -> None:
    """All that was acknowledged before the copy is in it, and its totals are those of its keys."""
    with opened(place) as copied:
        record = asyncio.run(copied.get("a"))
        count = record.totals.key_count or 0
        assert count >= least
        assert record.totals.sums.is_same(sums_of(*[1.0] * count))
        keys, _ = asyncio.run(copied.keys("a", 1_000_000))
        assert len(keys) == count
        assert commit(copied, entry("k0", 1.0), entry("new", 1.0)) == [True, False]  # it goes on


def test_copy_of_a_file_is_of_one_moment(tmp_path):
    assert 'sqlite3 runs.db "VACUUM INTO' in TEXT
    with opened(str(tmp_path / "runs.db")) as runs, adding(runs) as added:
        least = added()
        with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
            connection.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    check_copy(str(tmp_path / "copy.db"), least)


def test_dump_of_a_database_is_of_one_moment(database):
    (options,) = set(re.findall(r"pg_dump ((?:--[\w-]+ )*)", TEXT))
    programs, place = programs_of(database), database.url()
    with opened(place) as runs, adding(runs) as added:
        least = added()
        dump = run([programs / "pg_dump", *options.split(), plain(place)], capture_output=True, check=True)
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("CREATE DATABASE restored")
    restored = plain(place).replace("/postgres?", "/restored?")
    command = [str(programs / "psql"), "--quiet", "--set=ON_ERROR_STOP=1", restored]
    run(command, input=dump.stdout, capture_output=True, check=True, env={**os.environ, "PSQLRC": "/dev/null"})
    check_copy(restored, least)


def programs_of(database: Postgres) -> Path:
    return Path(database._server.bin_path)


def plain(url: str) -> str:
    """The address without the schema, which tests alone name."""
    return url.partition("&")[0]
