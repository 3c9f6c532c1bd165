"""The end of a store whose database does not answer."""

import asyncio
import threading
import time
from contextlib import contextmanager
from uuid import uuid4

import pytest

from losswire_server.runs import ending
from losswire_server.runs.errors import StoreUnavailableError, UnusableStoreError
from losswire_server.runs.records import Totals
from losswire_server.runs.runs import Runs
from tests.helpers import eventually
from tests.server.runs.making import commit, create, entry, new_run, opened, sums_of
from tests.server.runs.test_loss import locked

SECONDS = 5  # of the end at most: less than what waits for a connection, a lock or an answer


@contextmanager
def ended_within(seconds):
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@pytest.fixture(params=["sqlite", "postgresql"])
def hanging(request, tmp_path, monkeypatch):
    """A place, and a way to have its database hang."""
    monkeypatch.setattr(ending, "CLOSE_SECONDS", 0.2)
    if request.param == "sqlite":
        place = str(tmp_path / "runs.db")
        return place, lambda: locked(place)
    running = request.getfixturevalue("database")
    return running.new_schema(f"test_{uuid4().hex}"), running.frozen


def test_store_whose_database_hangs_ends_in_time(hanging):
    place, hang = hanging
    with opened(place) as runs:
        create(runs)
        assert commit(runs, entry("acknowledged", 1.0)) == [False]

        async def close():
            calls = [runs.commit([entry("writing", 2.0)]), runs.delete("none"), runs.commit([entry("waiting", 4.0)])]
            waiting = [asyncio.ensure_future(call) for call in calls]
            await asyncio.to_thread(eventually, lambda: runs._writer._taken is not None)
            await asyncio.to_thread(runs.close)
            return await asyncio.gather(*waiting, return_exceptions=True)

        with hang(), ended_within(SECONDS):
            (writing,), deletion, (waiting,) = asyncio.run(close())
        assert {type(came) for came in (writing, deletion, waiting)} == {StoreUnavailableError}
    with opened(place) as runs:
        assert commit(runs, entry("acknowledged", 1.0), entry("waiting", 4.0)) == [True, False]
        assert commit(runs, entry("writing", 2.0))[0] in (False, True)  # it may have reached the database
        assert asyncio.run(runs.get("a")).totals == Totals(3, sums_of(1.0, 2.0, 4.0))


def test_reads_of_a_postgresql_that_hangs_are_given_up(database, monkeypatch):
    monkeypatch.setattr(ending, "CLOSE_SECONDS", 0.2)
    with opened(database.new_schema(f"test_{uuid4().hex}")) as runs:
        create(runs)

        async def close():
            reading = [asyncio.ensure_future(runs.get("a")) for _ in range(20)]  # more than there are threads
            await asyncio.sleep(0)
            await asyncio.to_thread(runs.close)
            return await asyncio.gather(*reading, return_exceptions=True)

        with database.frozen(), ended_within(SECONDS):
            assert {type(came) for came in asyncio.run(close())} == {StoreUnavailableError}


def test_store_that_still_opens_is_given_up(database, monkeypatch):
    """PostgreSQL hangs between two statements of the start."""
    runs = Runs(database.new_schema(f"test_{uuid4().hex}"))
    reached, frozen, problems = threading.Event(), threading.Event(), []
    migrate = "losswire_server.runs.database.opening.migrate"

    def hang(opened_database):
        reached.set()
        assert frozen.wait(20)
        opened_database.read(lambda connection: connection.exec_driver_sql("SELECT 1"))

    def open_runs():
        try:
            runs.open()
        except UnusableStoreError as error:
            problems.append(error)

    monkeypatch.setattr(migrate, hang)
    thread = threading.Thread(target=open_runs)
    thread.start()
    assert reached.wait(20)
    with database.frozen(), ended_within(SECONDS):
        frozen.set()
        runs.close()
        thread.join()
    assert len(problems) == 1


def test_store_that_answers_late_writes_what_has_come(tmp_path):
    place = str(tmp_path / "runs.db")
    with opened(place) as runs:
        create(runs)

        async def close():
            writing = asyncio.ensure_future(runs.commit([entry("k", 1.0)]))
            creation = asyncio.ensure_future(runs.create(new_run("b")))
            with locked(place):
                await asyncio.to_thread(eventually, lambda: runs._writer._taken is not None)
                closing = asyncio.ensure_future(asyncio.to_thread(runs.close))
                await asyncio.to_thread(eventually, lambda: runs._writer._is_closing)
            await closing
            return await asyncio.gather(writing, creation, return_exceptions=True)

        (written, created) = asyncio.run(close())
        assert written == [False]
        assert isinstance(created, StoreUnavailableError)  # it is in, and cannot be read any more
    with opened(place) as runs:
        assert asyncio.run(runs.get("a")).totals == Totals(1, sums_of(1.0))
        assert asyncio.run(runs.get("b")).totals.key_count == 0
