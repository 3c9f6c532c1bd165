"""A server and a client to watch, each in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, NamedTuple, cast

from benchmarks.contestants import ROOT
from benchmarks.growth.memory import Resident, resident
from losswire_server import launch

AS_SHIPPED: Mapping[str, str] = {}
# glibc's malloc keeps tens of megabytes of freed memory, scattered over a heap for each of many threads. A leak could
# hide there for long, and resident memory goes up and down even without one. With these variables malloc has one heap
# and gives blocks of 64 KiB or more back at once, and the server leaves malloc alone. Then only memory in use can grow.
GIVING_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": str(2**16)}
SETTLE_SECONDS = 0.3  # after which all work is over, also work for callers that have left


class Sample(NamedTuple):
    """The memory of client and server after so many calls."""

    calls: int
    client: Resident
    server: Resident


class Watched:
    """A client that is told what to do, and its server."""

    def __init__(self, client: "subprocess.Popen[str]", server_pid: int) -> None:
        self._client = client
        self._server_pid = server_pid
        self.outcomes: Counter[str] = Counter()

    def run(self, kind: str, count: int) -> None:
        """Makes the client do so many ``evaluations`` or ``connections``, or ``trim`` its memory.

        Raises:
            RuntimeError: The client ended.
        """
        cast(IO[str], self._client.stdin).write(f"{kind} {count}\n")
        cast(IO[str], self._client.stdin).flush()
        answer = cast(IO[str], self._client.stdout).readline()
        if not answer:
            raise RuntimeError("the client's process ended")
        self.outcomes.update(json.loads(answer))

    def sample(self, calls: int, *, trimmed: bool) -> Sample:
        time.sleep(SETTLE_SECONDS)
        if trimmed:
            self.run("trim", 1)
        return Sample(calls, resident(self._client.pid), resident(self._server_pid))


@contextmanager
def watched(environment: Mapping[str, str] = AS_SHIPPED) -> Iterator[Watched]:
    """Runs both processes, with these variables in addition to their parent's."""
    with variables(environment), launch(log_level="error") as server:
        command = [sys.executable, "-m", "benchmarks.growth.caller", server.target]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            yield Watched(client, server.pid)


@contextmanager
def variables(environment: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
