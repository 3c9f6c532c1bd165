"""A run of a million keys is read as fast as a small one, and takes no more memory."""

import asyncio
import time
from pathlib import Path
from statistics import median

import pytest

from losswire_server.runs.errors import RunIncompleteError
from losswire_server.runs.records import Totals
from tests.helpers import eventually
from tests.server.runs.making import create, entry, opened

KEYS = 1_000_000
TOGETHER = 1000
SECONDS = 0.1  # the most that a call may take
KEPT_BYTES = 32 * 2**20  # what memory may differ by while nine tenths of the keys come: caches of a few pages
PAGE_BYTES = 4096


def memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def key_of(number: int) -> str:
    """Not in order: the next key lies anywhere among the others."""
    return f"val-{number * 7919 % KEYS:07}.parquet"


async def add(runs, numbers):
    for first in range(numbers.start, numbers.stop, TOGETHER):
        entries = [entry(key_of(number), 1.5, slice=f"s{number % 5}") for number in range(first, first + TOGETHER)]
        assert await runs.commit(entries) == [False] * TOGETHER


def fastest(call) -> float:
    """Seconds of the fastest of some calls: a busy machine is no failure."""
    times = []
    for _ in range(10):
        begun = time.perf_counter()
        asyncio.run(call())
        times.append(time.perf_counter() - begun)
    return min(times)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_million_keys(place):
    keys = KEYS if place.endswith(".db") else KEYS // 10  # in PostgreSQL, the rows have the same indexes
    with opened(place) as runs:
        create(runs)
        asyncio.run(add(runs, range(keys // 10)))
        before = memory()
        asyncio.run(add(runs, range(keys // 10, keys)))
        found = asyncio.run(runs.get("a"))
        assert found.totals.key_count == keys
        assert found.totals.sums.loss.fraction == 1.5 * keys
        assert [totals.key_count for totals in found.slices.values()] == [keys // 5] * 5
        check_calls_are_fast(runs)
        with pytest.raises(RunIncompleteError):
            asyncio.run(runs.finish("a", None, keys - 1))
        assert asyncio.run(runs.finish("a", None, keys)).totals == Totals(keys, found.totals.sums)
        assert memory() - before < KEPT_BYTES


def check_calls_are_fast(runs):
    some = [key_of(number) for number in range(1000)]
    assert fastest(lambda: runs.get("a")) < SECONDS
    assert fastest(lambda: runs.progress("a")) < SECONDS
    assert fastest(lambda: runs.list(100)) < SECONDS
    assert fastest(lambda: runs.keys("a", 100, "val-0900000")) < SECONDS
    assert fastest(lambda: runs.missing("a", some)) < SECONDS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_deletion_of_many_keys_holds_up_nobody(place):
    with opened(place) as runs:
        create(runs)
        create(runs, "b")
        asyncio.run(add(runs, range(KEYS // 20)))
        commits: list[float] = []

        def commit_one():
            begun = time.perf_counter()
            asyncio.run(runs.commit([entry(str(time.monotonic_ns()), 1.0, run="b")]))
            commits.append(time.perf_counter() - begun)
            return runs._writer._due > time.monotonic() + 1  # nothing more is due

        for _ in range(9):
            commit_one()
        alone = median(commits)  # a slow disk is no failure
        commits.clear()
        asyncio.run(runs.delete("a"))
        eventually(commit_one, 120)
        assert len(commits) > 1  # among the 25 transactions that delete, which a quick disk has soon done
        assert median(commits) < SECONDS + 10 * alone
