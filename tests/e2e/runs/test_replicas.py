"""Replicas that share a database, of which any may be killed under load, and the database too."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random
from uuid import uuid4

import numpy as np
import pytest

from losswire_client import Client, UnavailableError
from tests.e2e.runs.rows import CLASSES
from tests.e2e.runs.servers import Killed
from tests.e2e.runs.workers import NAME, PATIENT, SECONDS, Keys, check_run, part, working
from tests.helpers import eventually, serving
from tests.server.runs.postgresql import Postgres

WORKERS = 2  # of each replica
KEYS = 40  # between two failures, at least
ODD = np.zeros((2, CLASSES), np.float32), np.zeros(2, int)
HOW = [signal.SIGQUIT, signal.SIGKILL]  # as PostgreSQL crashes, and as the kernel ends it


@contextmanager
def unkeyed(target: str) -> Iterator[Callable[[], int]]:
    """A caller that names no run, and whose calls all succeed at once. Gives how many did so far."""
    answered, errors, stop = [0], list[BaseException](), threading.Event()

    def call() -> None:
        try:
            with Client(target, timeout=SECONDS, retry=None) as client:
                while not stop.is_set():
                    client.cross_entropy(*ODD)
                    answered[0] += 1
        except Exception as error:  # noqa: BLE001 - the test reports it
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield lambda: answered[0]
    finally:
        stop.set()
        thread.join()
    assert errors == []


@contextmanager
def stopped(database: Postgres, how: int) -> Iterator[None]:
    database.stop(how)
    try:
        yield
    finally:
        database.start()


def lose(database: Postgres, how: int, targets: Sequence[str], keys: Keys) -> None:
    """Ends the database for a while: keyed calls are told that it is unavailable, others are answered."""
    with ExitStack() as callers:
        for target in targets:  # connections of this process to one server wait for each other
            callers.enter_context(Client(target, timeout=SECONDS, retry=PATIENT)).get_run(NAME)
        clients = [callers.enter_context(Client(target, timeout=SECONDS, retry=None)) for target in targets]
        runs = [client.get_run(NAME) for client in clients]
        counts = [callers.enter_context(unkeyed(target)) for target in targets]
        with stopped(database, how):
            for run in runs:
                with pytest.raises(UnavailableError, match="connection"):
                    run.evaluate(*part(0), key="0")
            before = [count() for count in counts]
            eventually(lambda: all(count() > n + 10 for count, n in zip(counts, before, strict=True)))
        keys.wait_for(KEYS)


@pytest.mark.slow
@pytest.mark.parametrize("how", HOW, ids=lambda how: how.name)
def test_database_that_is_killed_loses_nothing(database, how):
    place = database.new_schema(f"test_{uuid4().hex}")
    with ExitStack() as stack:
        ports = [stack.enter_context(serving(runs=place)).port for _ in range(2)]
        targets = [f"127.0.0.1:{port}" for port in ports]
        with working(targets * WORKERS) as keys:
            keys.wait_for(KEYS)
            lose(database, how, targets, keys)
        check_run(targets[0], keys)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_replicas_and_database_that_are_killed_lose_nothing(database):
    rng, place = Random(0), database.new_schema(f"test_{uuid4().hex}")
    with ExitStack() as stack:
        replicas = [stack.enter_context(Killed(place)) for _ in range(2)]
        targets = [replica.target for replica in replicas]
        with working(targets * WORKERS) as keys:
            for how in HOW * 2:
                keys.wait_for(rng.randrange(1, KEYS))
                one = rng.choice(replicas)
                one.kill()
                keys.wait_for(KEYS)  # the other one takes them
                one.restart()
                pids = [replica.pid for replica in replicas]
                lose(database, how, targets, keys)
                assert all(os.path.exists(f"/proc/{pid}") for pid in pids)  # recovered without a restart
        for target in targets:
            check_run(target, keys)
