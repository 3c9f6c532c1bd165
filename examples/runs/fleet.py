"""Worker processes that evaluate parts through the SDK, and may be killed."""

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIGKILL

from validation import Part, Rows

from losswire_client import Run


@dataclass(frozen=True)
class Answer:
    """What a worker was told about a part: that its sums are on disk, and whether they were before."""

    worker: str
    key: str
    was_counted: bool
    loss_sum: float
    weight_sum: float


@dataclass(frozen=True)
class Work:
    """What each worker of a run is told.

    Attributes:
        run: A worker gets it pickled, and connects by itself.
        folder: Where the rows are.
        pause: Seconds before each part, in place of the time that a large model takes for its logits.
    """

    run: Run
    folder: Path
    pause: float


class Fleet:
    """Worker processes, each known by a name."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        self._workers: dict[Connection, tuple[str, BaseProcess]] = {}

    def start(self, name: str, parts: Sequence[Part]) -> None:
        """Starts a worker that evaluates parts in this order."""
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_evaluate, args=(name, self._work, parts, theirs), daemon=True)
        process.start()
        theirs.close()  # so that only the worker holds its end, which closes when the worker exits
        self._workers[ours] = name, process

    def kill(self, name: str) -> None:
        """Kills a worker by SIGKILL: it can finish nothing, and tell nobody."""
        for of, process in self._workers.values():
            if of == name and process.pid:
                os.kill(process.pid, SIGKILL)

    def answers(self) -> Iterator[Answer]:
        """What workers are told, as it comes, until all of them have ended.

        Raises:
            SystemExit: One has failed.
        """
        while self._workers:
            for connection in wait(list(self._workers)):
                if isinstance(connection, Connection):
                    yield from self._read(connection)

    def stop(self) -> None:
        """Ends all workers."""
        for _, process in self._workers.values():
            process.terminate()
            process.join()

    def _read(self, connection: Connection) -> Iterator[Answer]:
        try:
            yield connection.recv()
        except EOFError:
            name, process = self._workers.pop(connection)
            process.join()
            if process.exitcode not in (0, -SIGKILL):
                raise SystemExit(f"Worker {name} has failed; what it said is above.") from None


@contextmanager
def fleet(work: Work) -> Iterator[Fleet]:
    """Workers that end when the block ends."""
    workers = Fleet(work)
    try:
        yield workers
    finally:
        workers.stop()


def _evaluate(name: str, work: Work, parts: Sequence[Part], answers: Connection) -> None:
    rows = Rows.open(work.folder)
    with work.run.client:
        for part in parts:
            time.sleep(work.pause)
            logits, target = rows.logits[part.first : part.end], rows.target[part.first : part.end]
            result = work.run.cross_entropy(logits, target, key=part.key, slice=part.slice)
            answers.send(Answer(name, part.key, bool(result.was_counted), result.loss_sum, result.weight_sum))
