"""A server that is killed at any moment: what it has acknowledged counts, once, and the totals are right."""

import asyncio
import random
import subprocess
import sys
from typing import IO

import pytest

from losswire.exact_sums import ExactSums
from tests.processes import started
from tests.server.runs.making import create, opened, sums_of
from tests.server.runs.worker import losses_of

WORKER = [sys.executable, "-m", "tests.server.runs.worker"]
SEED = 0


def killed(place, first, acknowledged):
    """Commits keys from a number on until so many are acknowledged, and is killed. Returns those that are."""
    with started([*WORKER, place, "a", str(first), "100000", "16"], stdout=subprocess.PIPE, text=True) as worker:
        output: IO[str] = worker.stdout  # type: ignore[assignment] # it is a pipe
        assert output.readline() == "open\n"
        lines = [output.readline() for _ in range(acknowledged)]
        worker.kill()
        lines += [line for line in output if line.endswith("\n")]
    assert all(line.split()[1] in ("False", "True") for line in lines)
    return {line.split()[0] for line in lines}


def check_run(place, told):
    """The totals are those of the keys, and all keys that were acknowledged are there."""
    with opened(place) as runs:
        found = asyncio.run(runs.get("a"))
        keys, token = asyncio.run(runs.keys("a", 1_000_000))
    assert token == ""
    assert told <= {record.key for record in keys}
    expected = ExactSums()
    for record in keys:
        assert record.sums == sums_of(*losses_of(int(record.key[1:])))
        expected += record.sums
    assert found.totals == (len(keys), expected)
    assert sum(totals.key_count or 0 for totals in found.slices.values()) == len(keys)


def crash(place, times):
    rng = random.Random(SEED)
    with opened(place) as runs:
        create(runs)
    told: set[str] = set()
    for time in range(times):
        first = 300 * time if time % 3 else 0  # now and then the same keys once more
        told |= killed(place, first, rng.randrange(1, 200))
        check_run(place, told)
    assert len(told) > times


@pytest.mark.slow
def test_killed_server_loses_nothing(place):
    crash(place, 2)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_server_killed_often_loses_nothing(place):
    crash(place, 50)
