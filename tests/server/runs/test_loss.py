"""A database that is lost, and comes back."""

import asyncio
import functools
import signal
import sqlite3
import threading
from contextlib import contextmanager
from uuid import uuid4

import pytest
from sqlalchemy.exc import OperationalError

from losswire_server.runs.database import engine
from losswire_server.runs.errors import KeyConflictError, StoreUnavailableError
from losswire_server.runs.observer import NoObserver
from losswire_server.runs.records import Totals
from losswire_server.runs.runs import Runs
from tests.helpers import eventually
from tests.server.runs.making import DIGEST, commit, create, entry, new_run, opened, sums_of


class Counted(NoObserver):
    def __init__(self):
        self.lost = 0

    def unavailable(self):
        self.lost += 1


@contextmanager
def locked(place):
    """Another program holds the file, for longer than anybody waits."""
    other = sqlite3.connect(place, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


@contextmanager
def stopped(database):
    database.stop()
    try:
        yield
    finally:
        database.start()


@pytest.fixture(params=["sqlite", "postgresql"])
def losing(request, tmp_path, monkeypatch):
    """A place, and a way to lose it for a while."""
    monkeypatch.setattr(engine, "WAIT_SECONDS", 0.1)
    if request.param == "sqlite":
        place = str(tmp_path / "runs.db")
        return place, lambda: locked(place)
    running = request.getfixturevalue("database")
    return running.new_schema(f"test_{uuid4().hex}"), lambda: stopped(running)


@pytest.mark.slow
def test_lost_database_fails_its_entries_and_comes_back(losing, caplog):
    place, lose = losing
    observer = Counted()
    with opened(place, observer=observer) as runs:
        create(runs)
        assert commit(runs, entry("before", 1.0)) == [False]
        with lose():
            for _ in range(3):
                outcomes = commit(runs, entry("k", 2.0), entry("l", 4.0))
                assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2
            with pytest.raises(StoreUnavailableError):
                asyncio.run(runs.create(new_run("b")))
        assert observer.lost == 3
        assert commit(runs, entry("before", 1.0), entry("k", 2.0), entry("l", 4.0)) == [True, False, False]
        assert asyncio.run(runs.get("a")).totals == Totals(3, sums_of(1.0, 2.0, 4.0))
    levels = [
        record.levelname for record in caplog.records if "unavailable" in record.message and "commits" in record.name
    ]
    assert levels == ["ERROR"]  # told once


def test_reads_go_on_beside_a_long_transaction(tmp_path):
    place = str(tmp_path / "runs.db")
    with opened(place) as runs:
        create(runs)
        with locked(place):
            assert asyncio.run(runs.get("a")).totals.key_count == 0
            asyncio.run(runs.check("a", DIGEST, by_class=False, key="k", slice=""))


def test_checks_that_wait_take_no_thread_of_the_program(tmp_path, monkeypatch):
    """The server gives shared memory back in these threads, for evaluations without a key too."""
    answers = threading.Event()

    async def check_often():
        checks = [runs.check("a", DIGEST, by_class=False, key="k", slice="") for _ in range(100)]
        waiting = asyncio.gather(*checks)
        await asyncio.sleep(0)
        try:
            await asyncio.wait_for(asyncio.to_thread(int), 20)
        finally:
            answers.set()
        await waiting

    with opened(str(tmp_path / "runs.db")) as runs:
        create(runs)
        find = runs._recent.get
        monkeypatch.setattr(runs._recent, "get", lambda name: answers.wait(20) and find(name))
        asyncio.run(check_often())


def test_reads_of_a_lost_postgresql_fail_and_come_back(database):
    with opened(database.new_schema("reads")) as runs:
        create(runs)
        with stopped(database):
            for call in (runs.get("a"), runs.list(10), runs.missing("a", ["k"]), runs.finish("a", None, 0)):
                with pytest.raises(StoreUnavailableError):
                    asyncio.run(call)
            with pytest.raises(StoreUnavailableError):
                asyncio.run(runs.check("a", DIGEST, by_class=False, key="k", slice=""))
        assert asyncio.run(runs.finish("a", None, 0)).finished_at


def test_restart_between_two_commits_is_not_noticed(database):
    with opened(database.new_schema("restart")) as runs:
        create(runs)
        for number in range(3):
            assert commit(runs, entry(str(number), 1.0)) == [False]
            database.stop()
            database.start()
        assert asyncio.run(runs.get("a")).totals == Totals(3, sums_of(1.0, 1.0, 1.0))


@pytest.mark.slow
def test_postgresql_that_is_killed_under_load_loses_nothing(database):
    """Callers send what failed again, as the contract tells them to; what was acknowledged stays so."""
    numbers = iter(range(2000))
    answered = 0

    async def work(runs):
        nonlocal answered
        for number in numbers:
            while (outcome := (await runs.commit([entry(str(number), 1.0)]))[0]) not in (True, False):
                assert isinstance(outcome, StoreUnavailableError)
            answered += 1

    def has_answered(least):
        return answered > least

    async def all_of_it(runs):
        await asyncio.gather(*(work(runs) for _ in range(16)))

    with opened(database.new_schema("killed")) as runs:
        create(runs)
        thread = threading.Thread(target=lambda: asyncio.run(all_of_it(runs)))
        thread.start()
        for least in (200, 800):
            eventually(functools.partial(has_answered, least))
            database.stop(signal.SIGQUIT)  # as if it crashed: it recovers from its log
            database.start()
        thread.join()
        assert asyncio.run(runs.get("a")).totals == Totals(2000, sums_of(*[1.0] * 2000))


def test_deadlock_is_tried_again(place):
    with opened(place) as runs:
        create(runs)
        tries = []

        def fail_twice(connection):
            tries.append(connection.in_transaction())
            if len(tries) < 3:
                raise OperationalError("", {}, type("Deadlock", (Exception,), {"sqlstate": "40P01"})())

        runs._database.write(fail_twice)
        assert tries == [True] * 3


def test_commit_whose_answer_is_lost_counts_now(place, monkeypatch):
    """The second attempt finds what the first one has committed."""
    with opened(place) as runs:
        create(runs)
        assert commit(runs, entry("before", 1.0)) == [False]
        write = runs._database.write

        def write_twice(work):
            write(work)
            return write(work)

        monkeypatch.setattr(runs._database, "write", write_twice)
        entries = [entry("before", 1.0), entry("k", 2.0), entry("k", 2.0), entry("k", 4.0)]
        *outcomes, conflict = commit(runs, *entries)
        assert outcomes == [True, False, True]
        assert isinstance(conflict, KeyConflictError)
        assert asyncio.run(runs.get("a")).totals == Totals(2, sums_of(1.0, 2.0))


def test_key_that_another_counts_between_two_attempts_counted_before(place, monkeypatch):
    with opened(place) as runs, opened(place) as others:
        create(runs)
        write = runs._database.write

        def write_after_others(work):
            def fail(connection):
                work(connection)
                raise OperationalError("", {}, type("Deadlock", (Exception,), {"sqlstate": "XX000"})())

            with pytest.raises(StoreUnavailableError):
                write(fail)
            assert commit(others, entry("k", 1.0)) == [False]
            return write(work)

        monkeypatch.setattr(runs._database, "write", write_after_others)
        assert commit(runs, entry("k", 1.0)) == [True]


def test_full_disk_fails_and_recovers(tmp_path):
    """A limit of pages is to SQLite what a full disk is."""
    with opened(str(tmp_path / "runs.db")) as runs:
        create(runs)
        pages = set_limit(runs, 1)
        outcomes = [commit(runs, *(entry(f"{n}-{m}", 1.0) for m in range(200)))[0] for n in range(3)]
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
        assert "full" in str(outcomes[0])
        assert asyncio.run(runs.get("a")).totals.key_count == 0
        set_limit(runs, pages + 10_000)
        assert commit(runs, entry("k", 1.0)) == [False]
        assert asyncio.run(runs.get("a")).totals == Totals(1, sums_of(1.0))


def set_limit(runs, pages):
    """Limits the pages of the file, for all connections of a store; returns how many there are now."""

    def limit(connection):
        return connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}").scalar()

    return runs._writer.do(lambda: runs._database.write(limit)).result()


def test_closed_store_refuses(place):
    runs = Runs(place)
    runs.open()
    create(runs)
    runs.close()
    assert [type(outcome) for outcome in commit(runs, entry("k", 1.0))] == [StoreUnavailableError]
    for call in (runs.get("a"), runs.delete("a")):
        with pytest.raises(StoreUnavailableError):
            asyncio.run(call)


def test_close_writes_what_has_come(place):
    with opened(place) as runs:
        create(runs)

        async def leave():
            waiting = [asyncio.ensure_future(runs.commit([entry(str(number), 1.0)])) for number in range(100)]
            await asyncio.sleep(0)
            await asyncio.to_thread(runs.close)
            return await asyncio.gather(*waiting)

        assert asyncio.run(leave()) == [[False]] * 100
    with opened(place) as runs:
        assert asyncio.run(runs.get("a")).totals.key_count == 100


def test_closed_loop_harms_nobody(place):
    """A caller whose event loop has ended does not hold up others."""
    with opened(place) as runs:
        create(runs)

        async def leave():
            runs._writer.add([entry("k", 1.0)])

        asyncio.run(leave())
        assert commit(runs, entry("k", 1.0)) == [True]
