"""A server that is killed under load at any moment: what it has acknowledged counts, once, to the last bit."""

import time
from pathlib import Path
from random import Random

import pytest

from tests.e2e.runs.servers import Killed
from tests.e2e.runs.workers import check_run, working

WORKERS = 4
MOST_KEYS = 60  # of a life
MOST_SECONDS = 0.01  # after a key: transactions take some milliseconds


def crash(place: Path, times: int) -> None:
    rng = Random(times)
    with Killed(str(place / "runs.db")) as server:
        with working([server.target] * WORKERS) as keys:
            for _ in range(times):
                keys.wait_for(rng.randrange(1, MOST_KEYS))
                time.sleep(rng.uniform(0.0, MOST_SECONDS))
                server.kill()
                server.restart()
            keys.wait_for(MOST_KEYS)
        check_run(server.target, keys)


@pytest.mark.slow
def test_killed_server_loses_nothing(tmp_path):
    crash(tmp_path, 3)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_server_killed_often_loses_nothing(tmp_path):
    crash(tmp_path, 50)
