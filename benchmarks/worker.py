"""The process of a contestant: ``contestants.Contestant`` runs ``python -m benchmarks.worker FUNCTION PIPE``."""

import importlib
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.batch import Answer, Checked, Run, WrongAnswerError

WARM_UP_CALLS = 50
Prepare = Callable[[Any], AbstractContextManager[Run]]  # of any kind of batch


class Worker:
    """Prepares one batch after the other, and runs it."""

    def __init__(self, contestant: Callable[[], AbstractContextManager[Prepare]]) -> None:
        self._contestant = contestant
        self._server = ExitStack()
        self._client = ExitStack()
        self._prepare: Prepare | None = None
        self._batch: Checked | None = None
        self._run: Run = lambda: Answer(0.0)

    def prepare(self, batch: Checked) -> None:
        if self._prepare is None:  # here and not at the start, so that the asking process gets errors
            self._prepare = self._server.enter_context(self._contestant())
        self._run = lambda: Answer(0.0)
        self._client.close()
        self._batch, self._run = batch, self._client.enter_context(self._prepare(batch))
        batch.check(self._run())

    def seconds(self) -> float:
        self._run()
        return _timed(self._run)

    def latencies(self, runs: int) -> list[float]:
        for _ in range(WARM_UP_CALLS):
            self._run()
        return [_timed(self._run) for _ in range(runs)]

    def rate(self, callers: int, seconds: float) -> float:
        assert self._prepare is not None
        with ExitStack() as clients, ThreadPoolExecutor(callers) as threads:
            runs = [clients.enter_context(self._prepare(self._batch)) for _ in range(callers)]
            for _ in threads.map(lambda run: run(), runs):  # connects
                pass
            start = time.perf_counter()
            count = sum(threads.map(partial(_count, start + seconds), runs))
            return count / (time.perf_counter() - start)

    def stop(self) -> None:
        self._run = lambda: Answer(0.0)
        self._client.close()
        self._server.close()


def _timed(run: Run) -> float:
    start = time.perf_counter()
    answer = run()
    end = time.perf_counter()
    del answer  # frees a gradient, outside of the time
    return end - start


def _count(end: float, run: Run) -> int:
    count = 0
    while time.perf_counter() < end:
        run()
        count += 1
    return count


def serve(worker: Worker, connection: Connection) -> None:
    """Answers until the asking process has left."""
    while True:
        try:
            name, *arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send(getattr(worker, name)(*arguments))
        except WrongAnswerError as error:
            connection.send(error)
        except Exception as error:  # noqa: BLE001 - raised in the process that asked
            connection.send(RuntimeError(f"{type(error).__name__}: {error}"))


def main() -> None:
    function, handle = sys.argv[1:]
    module, name = function.split(":")
    worker = Worker(getattr(importlib.import_module(module), name))
    try:
        serve(worker, Connection(int(handle)))
    finally:
        worker.stop()


if __name__ == "__main__":
    main()
