"""Workers that add to a run while its servers and its database are killed, and a check of what it has come to."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from random import Random

import numpy as np

from losswire_client import Client, Retry
from tests.e2e.runs.rows import CLASSES, Array, any_numbers
from tests.helpers import eventually

NAME = "run"
ROWS = 4  # of a key
SECONDS = 60.0  # a restart on a busy machine takes several
LONG_SECONDS = 500.0  # a call may miss many short lives of a server, since its connection rests between two attempts
PATIENT = Retry(seconds=LONG_SECONDS)
TWICE = 5  # each fifth key is sent by two workers


def part(key: int) -> tuple[Array, Array]:
    """The rows of a key: log-probabilities that may be any numbers, and targets."""
    rng = Random(key)
    numbers = any_numbers(rng, ROWS * CLASSES, "float32").reshape(ROWS, CLASSES)
    return numbers, np.array([rng.randrange(CLASSES) for _ in range(ROWS)])


def losses(key: int) -> list[Fraction]:
    """Of the rows of a key. Without weights a loss is the negative of a number, and nothing is rounded."""
    numbers, target = part(key)
    return [Fraction(-float(loss)) for loss in numbers[np.arange(ROWS), target]]


class Keys:
    """Hands out keys until it is closed, some of them twice, and remembers what was acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[int, bool]] = []  # and whether it had been counted before
        self.errors: list[BaseException] = []
        self.is_closed = False
        self._lock = threading.Lock()
        each = itertools.count()
        self._keys = (key for number in each for key in ([number, number] if number % TWICE == 0 else [number]))

    def __iter__(self) -> Iterator[int]:
        while not self.is_closed:
            with self._lock:
                key = next(self._keys)
            yield key

    def work(self, target: str) -> None:
        """Sends keys to a server, each again until it is acknowledged."""
        try:
            with Client(target, timeout=LONG_SECONDS, retry=PATIENT) as client:
                run = client.get_run(NAME)
                for key in self:
                    answer = run.evaluate(*part(key), key=str(key))
                    self.acknowledged.append((key, answer.was_counted))
        except Exception as error:  # noqa: BLE001 - the test reports it
            self.errors.append(error)

    def wait_for(self, more: int) -> None:
        """Waits until so many more are acknowledged."""
        enough = len(self.acknowledged) + more
        eventually(lambda: len(self.acknowledged) >= enough or bool(self.errors), SECONDS)
        self.check()

    def check(self) -> None:
        """Raises the error of a worker."""
        for error in self.errors:
            raise AssertionError("a worker has failed") from error


@contextmanager
def working(targets: Sequence[str]) -> Iterator[Keys]:
    """A run, and a worker for each of these servers, of which one may be there several times."""
    with Client(targets[0], timeout=SECONDS) as client:
        client.run(NAME, loss="nll_loss")
    keys = Keys()
    threads = [threading.Thread(target=keys.work, args=[target]) for target in targets]
    for thread in threads:
        thread.start()
    try:
        yield keys
    finally:
        keys.is_closed = True
        for thread in threads:
            thread.join()
    keys.check()


def check_run(target: str, keys: Keys) -> None:
    """All that was acknowledged counts, once, and the totals are those of fractions."""
    with Client(target, timeout=SECONDS, retry=PATIENT) as client:
        run = client.get_run(NAME)
        found = {int(each.key): each.sums for each in run.keys(slice=None)}
        result = run.finish(count=len(found))
    assert {key for key, _ in keys.acknowledged} == found.keys()  # each worker had waited for its last answer
    counted = [key for key, was_counted in keys.acknowledged if not was_counted]
    assert len(counted) == len(set(counted))
    for key, sums in found.items():
        assert sums.loss.fraction == sum(losses(key))
    every = [loss for key in found for loss in losses(key)]
    assert result.key_count == len(found)
    assert result.row_count == len(every)
    assert result.sums.loss.fraction == sum(every)
    assert result.sums.loss_squared.fraction == sum(loss**2 for loss in every)
    assert result.mean == float(sum(every) / len(every))
