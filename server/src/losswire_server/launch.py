"""A server in a process of its own, for notebooks, examples, benchmarks and tests."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast


@dataclass(frozen=True)
class RunningServer:
    """Where a launched server is.

    Attributes:
        target: For ``losswire_client.Client``, as in ``127.0.0.1:50051``.
        metrics_url: Where its metrics can be scraped.
        pid: Its process.
    """

    target: str
    metrics_url: str
    pid: int


@contextmanager
def launch(*, stop_seconds: float = 30.0, **settings: object) -> Iterator[RunningServer]:
    """Runs ``losswire-server`` for the length of a ``with`` block, on loopback and on free ports unless given.

    Args:
        stop_seconds: How long the server may take to stop before it is killed.
        settings: Any of ``losswire_server.Settings``, other than the format of the log. What is logged as a warning or
            worse goes on to standard error.

    Raises:
        RuntimeError: The server did not come up; the message is what it said.
    """
    flags = {"port": 0, "metrics_port": 0, **settings, "log_format": "json"}
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    command = [sys.executable, "-m", "losswire_server", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - no shell, our own program
    log = cast(IO[str], process.stderr)
    reader = threading.Thread(target=_pass_on, args=(log,))
    try:
        serving = _wait_until_serving(log)
        reader.start()
        target, metrics_address = serving["target"], serving["metrics"]
        yield RunningServer(target, f"http://{metrics_address}/metrics", process.pid)
    finally:
        _stop(process, stop_seconds)
        if reader.is_alive():
            reader.join()
        log.close()


def _wait_until_serving(log: IO[str]) -> dict[str, Any]:
    said = []
    for line in log:
        entry = _parse(line)
        if entry.get("event") == "serving":
            return entry
        said.append(line)
    raise RuntimeError(f"losswire-server did not start: {''.join(said).strip()}")


def _pass_on(log: IO[str]) -> None:
    for line in log:
        if _parse(line).get("level") not in ("debug", "info"):
            sys.stderr.write(line)


def _parse(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _stop(process: subprocess.Popen[str], seconds: float) -> None:
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
