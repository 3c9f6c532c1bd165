"""Several servers on one database."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack

import pytest

from losswire.exact_sums import ExactSums
from losswire_server.runs.errors import KeyConflictError
from losswire_server.runs.records import Totals
from tests.processes import started
from tests.server.runs.making import commit, create, entry, new_run, opened, sums_of
from tests.server.runs.worker import commit_all, losses_of

WORKER = [sys.executable, "-m", "tests.server.runs.worker"]
KEYS = 200


def check_totals(runs, keys):
    """Each key once, in the run and in its slices, to the last bit."""
    found = asyncio.run(runs.get("a"))
    assert found.totals.key_count == keys
    expected = ExactSums()
    for number in range(keys):
        expected += sums_of(*losses_of(number))
    assert found.totals.sums.is_same(expected)
    assert sum(totals.key_count for totals in found.slices.values()) == keys
    for name, totals in found.slices.items():
        of_slice = ExactSums()
        for number in range(int(name[1:]), keys, 3):
            of_slice += sums_of(*losses_of(number))
        assert totals.sums == of_slice


def test_two_stores_count_a_key_once(place):
    with opened(place) as first, opened(place) as second:
        create(first)
        threads = [
            threading.Thread(target=lambda runs=runs: asyncio.run(commit_all(runs, "a", range(KEYS), 8)))
            for runs in (first, second)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check_totals(first, KEYS)
        check_totals(second, KEYS)


@pytest.mark.slow
def test_processes_count_a_key_once(place):
    with opened(place) as runs, ExitStack() as stack:
        create(runs)
        command = [*WORKER, place, "a", "0", str(KEYS), "8"]
        workers = [stack.enter_context(started(command, stdout=subprocess.PIPE, text=True)) for _ in range(2)]
        told = [worker.communicate()[0].split("\n")[1:-1] for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0]
        outcomes = [line.split(" ") for lines in told for line in lines]
        assert sorted(key for key, outcome in outcomes if outcome == "False") == sorted(f"k{n}" for n in range(KEYS))
        assert len(outcomes) == 2 * KEYS
        check_totals(runs, KEYS)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_same_key_at_the_same_moment_counts_once(place):
    """Ten thousand times from two stores, with other sums: one of them counts, and the other is told so."""

    async def both(key):
        outcomes = await asyncio.gather(
            *(runs.commit([entry(key, loss)]) for loss, runs in zip((1.0, 2.0), stores, strict=True))
        )
        return [outcome for (outcome,) in outcomes]

    async def all_keys():
        return [pair for first in range(0, 10_000, 50) for pair in await asyncio.gather(*map(both, numbers(first)))]

    def numbers(first):
        return map(str, range(first, first + 50))

    with opened(place) as one, opened(place) as other:
        stores = (one, other)
        create(one)
        pairs = asyncio.run(all_keys())
        assert all(sorted(map(type, pair), key=str) == [bool, KeyConflictError] for pair in pairs)
        first = sum(pair[0] is False for pair in pairs)
        expected = Totals(10_000, sums_of(*[1.0] * first, *[2.0] * (10_000 - first)))
        assert asyncio.run(other.get("a")).totals == expected


def test_totals_of_another_store_are_seen(place):
    """Each store keeps totals in memory, which are of no use once another one has added to the run."""
    one = sums_of(1.0)
    with opened(place) as first, opened(place) as second:
        create(first, by_class=True)
        for number in range(6):
            runs = (first, second)[number % 2]
            assert commit(runs, entry(str(number), 1.0, slice="x", by_class={number // 3: one})) == [False]
        found = asyncio.run(first.get("a"))
        assert found.slices == {"x": Totals(6, sums_of(*[1.0] * 6))}
        assert found.classes == {index: Totals(None, sums_of(*[1.0] * 3)) for index in (0, 1)}


def test_database_restored_from_a_copy_is_seen(tmp_path):
    """Two histories of a run have the same number of changes: what is in memory is of the one that is gone."""
    place, other = str(tmp_path / "runs.db"), str(tmp_path / "other.db")
    for path, key, loss in ((place, "k", 1.0), (other, "l", 2.0)):
        with opened(path) as runs:
            create(runs)
            commit(runs, entry(key, loss, slice="x"))
    with opened(place) as runs:
        assert commit(runs, entry("k", 1.0, slice="x")) == [True]  # so its totals are in memory
        with sqlite3.connect(other) as source, sqlite3.connect(place) as target:
            source.backup(target)
        source.close()
        target.close()
        assert commit(runs, entry("m", 4.0, slice="x")) == [False]
        found = asyncio.run(runs.get("a"))
        assert found.totals == found.slices["x"] == Totals(2, sums_of(2.0, 4.0))


def test_run_created_twice_at_once_is_one(place):
    with opened(place) as first, opened(place) as second:
        made: list[bool] = []

        def make(runs):
            made.append(asyncio.run(runs.create(new_run()))[1])

        threads = [threading.Thread(target=make, args=[runs]) for runs in (first, second) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(made) == [False] * 7 + [True]
        assert len(asyncio.run(first.list(10))[0]) == 1


@pytest.mark.slow
def test_stores_open_at_once(place):
    """The first one makes the tables, and the others wait for it."""
    with ExitStack() as stack:
        command = [*WORKER, place, "none", "0", "0", "1"]
        workers = [stack.enter_context(started(command, stdout=subprocess.PIPE, text=True)) for _ in range(3)]
        assert [worker.communicate()[0] for worker in workers] == ["open\n"] * 3
