"""Starts that fail, and stops at any moment: each ends with a status of its kind, without a crash or a traceback."""

import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.processes import started

COMMAND = [sys.executable, "-X", "faulthandler", "-m", "losswire_server", "--log-format=json"]
TERM, INT = signal.SIGTERM, signal.SIGINT
ROUNDS = 4
SECONDS_OF_A_START = 6.0  # signals come until then; a later signal would find a server that serves


class Start(NamedTuple):
    """A start, the signals that are sent to it, and the exit statuses that it may have."""

    flags: tuple[str, ...]
    signals: tuple[signal.Signals, ...]
    statuses: tuple[int, ...]


@pytest.fixture
def starts() -> Iterator[list[Start]]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port, free = other.getsockname()[1], ("--port=0", "--metrics-port=0")
        yield [
            Start(("--port=0", f"--metrics-port={port}"), (), (2,)),
            Start((f"--port={port}", "--metrics-port=0"), (), (2,)),
            Start((*free, "--host=999.1.1.1"), (), (2,)),
            Start(free, (TERM,), (0, -TERM)),
            Start(free, (INT,), (0, -INT)),
            Start(free, (INT, TERM), (0, -INT, -TERM)),
            Start(free, (TERM, TERM), (0, -TERM)),
            Start(("--port=0", f"--metrics-port={port}"), (TERM,), (0, 2, -TERM)),
        ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_start_and_stop_ends_as_it_may(starts):
    rng = random.Random(ROUNDS)
    moments = [sorted(rng.uniform(0, SECONDS_OF_A_START) for _ in start.signals) for start in starts * ROUNDS]
    with ThreadPoolExecutor(4) as threads:  # more than the cores, so that the threads of a start wait for each other
        ends = list(threads.map(end_of, starts * ROUNDS, moments))
    for start, (status, said) in zip(starts * ROUNDS, ends, strict=True):
        if INT in start.signals and never_ran(said):
            continue
        assert status in start.statuses, (start, said)
        assert "Fatal Python error" not in said, (start, said)
        assert "Traceback" not in said or interrupted_early(said), (start, said)


def never_ran(said: str) -> bool:
    """Whether Python was interrupted before it could look for the server; it ends with status 1 then."""
    unready = "Could not import runpy", "Fatal Python error: init_import_site"
    return said.startswith(unready) and said.rstrip().endswith("KeyboardInterrupt")


def interrupted_early(said: str) -> bool:
    """Whether Python itself was interrupted, before the server's code ran."""
    return said.rstrip().endswith("KeyboardInterrupt") and "in main" not in said


def end_of(start: Start, moments: list[float]) -> tuple[int, str]:
    begin = time.monotonic()
    with started([*COMMAND, *start.flags], stderr=subprocess.PIPE, text=True) as process:
        for number, moment in zip(start.signals, moments, strict=True):
            time.sleep(max(0.0, begin + moment - time.monotonic()))
            process.send_signal(number)
        _, said = process.communicate(timeout=60)
    return process.returncode, said
