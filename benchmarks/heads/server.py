"""A server with heads in a process of its own: prints its target and its process id, and leaves with its starter.

Run as ``python -m benchmarks.heads.server HOST``, in the namespace where it is to listen.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.contestants import ROOT, STOP_SECONDS
from losswire_server import launch


class Served(NamedTuple):
    """Where a server is, and its process."""

    target: str
    pid: int


@contextmanager
def serving(host: str = "127.0.0.1", prefix: Sequence[str] = ()) -> Iterator[Served]:
    """Runs a server, by a command with this before it."""
    command = [*prefix, sys.executable, "-m", "benchmarks.heads.server", host]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the server did not start")
            yield Served(*json.loads(line))
        finally:
            process.stdin.close()
            process.wait(STOP_SECONDS)


def main() -> None:
    with launch(host=sys.argv[1], insecure=True, metrics=False, log_level="error") as server:
        print(json.dumps([server.target, server.pid]), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
