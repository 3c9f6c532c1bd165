"""Contestants: ways to compute a loss, each in a process of its own, so that they share no memory."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

from benchmarks.batch import Checked, WrongAnswerError

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers"
SETTLE_SECONDS = 0.01  # PyTorch's threads spin for a while after their work, and would slow down the next contestant
# Makes glibc keep freed memory instead of giving it back to the kernel and faulting it in again the next time.
MALLOC_KEEPS = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
STOP_SECONDS = 40.0  # Triton gives its models 30


@dataclass(frozen=True)
class Way:
    """How a contestant is run.

    Attributes:
        function: A function, as in ``package.module:function``. It returns a context, which runs a server if the way
            has one, and whose value is a `Prepare`.
        peer: Whether it needs the peers' environment, and not this one.
        environment: Variables that its process gets in addition to its parent's.
    """

    function: str
    peer: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def python(self) -> str:
        return str(PEERS / "bin" / "python") if self.peer else sys.executable

    @property
    def installed(self) -> bool:
        return not self.peer or (PEERS / "ready").exists()


class Contestant:
    """A process that takes orders over a pipe. The methods here call those of ``worker.Worker``."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._connection, other = Pipe()
        command = [way.python, "-m", "benchmarks.worker", way.function, str(other.fileno())]
        environment = {**os.environ, **way.environment}
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, pass_fds=[other.fileno()])
        other.close()

    def prepare(self, batch: Checked) -> None:
        """Makes it ready for a batch, and checks its answer.

        Raises:
            RuntimeError: It cannot compute this batch.
            WrongAnswerError: Its answer is wrong.
        """
        self._ask("prepare", batch)

    def seconds(self) -> float:
        """Seconds of the second of two runs, once the threads of earlier runs rest."""
        time.sleep(SETTLE_SECONDS)
        return float(self._ask("seconds"))

    def latencies(self, runs: int) -> list[float]:
        """Seconds of each of so many runs of one caller."""
        time.sleep(SETTLE_SECONDS)
        seconds: list[float] = self._ask("latencies", runs)
        return seconds

    def rate(self, callers: int, seconds: float) -> float:
        """Evaluations per second of so many callers, each of whom waits for an answer before it asks again."""
        time.sleep(SETTLE_SECONDS)
        return float(self._ask("rate", callers, seconds))

    def dismiss(self) -> None:
        """Tells it to end, and to stop its server. `stop` does so too, and waits until it has ended."""
        self._connection.close()

    def stop(self) -> None:
        self.dismiss()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, *question: object) -> Any:
        try:
            self._connection.send(question)
            answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise RuntimeError(f"{self._way.function}: its process ended") from error
        if isinstance(answer, RuntimeError | WrongAnswerError):
            raise answer
        return answer
