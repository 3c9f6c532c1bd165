"""Callers in processes of their own, as the process sees them that tells them what to do."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, cast

from benchmarks.contestants import ROOT


class Callers:
    """Callers in a process of their own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._in, self._out = cast(IO[str], process.stdin), cast(IO[str], process.stdout)
        self._line()

    def begin(self, seconds: float) -> None:
        """Has them call for so many seconds."""
        self._in.write(f"{seconds}\n")
        self._in.flush()

    def end(self) -> list[float]:
        """The seconds of their calls."""
        times: list[float] = json.loads(self._line())
        return times

    def _line(self) -> str:
        line = self._out.readline()
        if not line:
            raise RuntimeError("the callers' process ended")
        return line


@contextmanager
def calling(target: str, count: int, shape: Sequence[int], transport: str) -> Iterator[Callers]:
    """So many callers with batches of such a shape."""
    command = [sys.executable, "-m", "benchmarks.fairness.callers", target, str(count), *map(str, shape), transport]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Callers(process)
