"""Servers of the peers, each in a process of its own that ends with the process that started it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SECONDS = 10.0


@contextmanager
def serving(module: str) -> Iterator[int]:
    """Runs a module that calls `serve_until_left`, and gives its port."""
    command = [sys.executable, "-m", module]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{module} did not start")
        yield int(line)
    finally:
        process.stdin.close()
        process.stdout.close()
        _wait(process)


def serve_until_left(port: int) -> None:
    """Prints the port, and returns once the process that started this one has left, whatever the reason."""
    print(port, flush=True)
    sys.stdin.read()


def _wait(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
