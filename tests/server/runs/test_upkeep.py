"""Idle runs expire, and the rows of deleted runs go without holding up others."""

import asyncio

import pytest
from sqlalchemy import func, select

from losswire_server.runs.database.address import address_of
from losswire_server.runs.database.database import Database
from losswire_server.runs.database.tables import metadata
from losswire_server.runs.errors import RunNotFoundError
from losswire_server.runs.writing import upkeep
from tests.helpers import eventually
from tests.server.runs.making import commit, create, entry, opened, sums_of


@pytest.fixture
def rows(place):
    """Counts the rows of each table."""
    database = Database(address_of(place))

    def count(connection):
        return [
            connection.execute(select(func.count()).select_from(table)).scalar() for table in metadata.sorted_tables
        ]

    yield lambda: database.read(count)
    database.close()


def fill(runs, name, keys=25):
    create(runs, name, by_class=True)
    one = sums_of(1.0)
    entries = [entry(f"{n}", 1.0, run=name, slice=f"s{n}", by_class={n: one}) for n in range(keys)]
    assert commit(runs, *entries) == [False] * keys


def test_rows_of_a_deleted_run_go(place, rows, monkeypatch):
    monkeypatch.setattr(upkeep, "MOST_ROWS", 10)
    with opened(place) as runs:
        fill(runs, "a")
        asyncio.run(runs.delete("a"))
        eventually(lambda: not any(rows()))


def test_other_runs_stay(place, rows, monkeypatch):
    monkeypatch.setattr(upkeep, "MOST_ROWS", 10)
    with opened(place) as runs:
        fill(runs, "a")
        fill(runs, "b")
        kept = asyncio.run(runs.get("b"))
        asyncio.run(runs.delete("a"))
        eventually(lambda: sorted(rows()) == [1, 1, 25, 25, 25])
        assert asyncio.run(runs.get("b")) == kept


def test_deletion_goes_on_in_another_server(place, rows):
    with opened(place) as runs:
        fill(runs, "a")
        runs._writer._upkeep = lambda: 60.0  # as if the server died
        asyncio.run(runs.delete("a"))
    assert sum(rows()) == 77
    with opened(place):
        eventually(lambda: not any(rows()))


@pytest.mark.slow
def test_commits_are_taken_while_a_run_goes(place, rows, monkeypatch):
    monkeypatch.setattr(upkeep, "MOST_ROWS", 1)
    with opened(place) as runs:
        fill(runs, "a", 80)
        create(runs, "b")
        asyncio.run(runs.delete("a"))
        assert commit(runs, entry("k", 1.0, run="b")) == [False]
        assert sum(rows()) > 20  # most of it still waits
        eventually(lambda: sum(rows()) == 3)


def test_idle_run_expires(place, rows):
    now = 1e9
    with opened(place, run_idle_seconds=100.0, clock=lambda: now) as runs:
        create(runs, "idle")
        now += 90
        create(runs, "new")
        now += 20
        runs._writer.tend()
        eventually(lambda: sorted(rows())[-1] == 1)
        with pytest.raises(RunNotFoundError):
            asyncio.run(runs.get("idle"))
        commit(runs, entry("k", 1.0, run="new"))
        now += 90
        runs._writer.tend()
        assert asyncio.run(runs.get("new")).updated_at == now - 90


def test_finished_run_expires_too(place):
    now = 1e9
    with opened(place, run_idle_seconds=100.0, clock=lambda: now) as runs:
        create(runs, "done")
        asyncio.run(runs.finish("done", None, 0))
        now += 101
        runs._writer.tend()
        eventually(lambda: asyncio.run(runs.list(10)) == ([], ""))
