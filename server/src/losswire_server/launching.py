"""A server in a process of its own, for notebooks, examples, benchmarks and tests."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

LEVELS = {name: logging.getLevelNamesMapping()[name] for name in ("DEBUG", "INFO", "WARNING", "ERROR")}


@dataclass(frozen=True)
class RunningServer:
    """Where a launched server is.

    Attributes:
        target: For ``losswire_client.Client``, as in ``127.0.0.1:50051``.
        metrics_url: Where its metrics can be scraped; empty if they are turned off.
        pid: Its process id.
    """

    target: str
    metrics_url: str
    pid: int


@contextmanager
def launch(
    *, log_level: str = "warning", start_seconds: float = 60.0, stop_seconds: float = 30.0, **settings: object
) -> Iterator[RunningServer]:
    """Runs ``losswire-server`` for the length of a ``with`` block, on loopback and free ports unless given others.

    Args:
        log_level: The least severe events that the server passes on to this process's standard error, as JSON lines.
        start_seconds: How long the server may take to come up.
        stop_seconds: How long the server may take to stop before it is killed.
        settings: Any other ``losswire_server.Settings``. ``LOSSWIRE_*`` variables are ignored.

    Raises:
        ValueError: The log level is unknown.
        RuntimeError: The server did not come up; the message has its log.
    """
    if log_level.upper() not in LEVELS:
        raise ValueError(f"log_level: expected one of {', '.join(LEVELS).lower()}, got {log_level!r}")
    flags = {
        "port": 0,
        "metrics_port": 0,
        **settings,
        "log_format": "json",
        "log_level": min("info", log_level, key=_rank),
    }
    arguments = [_flag(name.replace("_", "-"), value) for name, value in flags.items()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOSSWIRE_")}
    command = [sys.executable, "-m", "losswire_server", *arguments]
    process = subprocess.Popen(  # noqa: S603 - no shell, our own program
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",  # gRPC's core writes what peers send, and a log that is not read blocks
    )
    log = cast(IO[str], process.stderr)
    reader = threading.Thread(target=_pass_on, args=(log, _rank(log_level)))
    try:
        serving = _wait_until_serving(process, log, start_seconds)
        reader.start()
        metrics = serving["metrics"]
        yield RunningServer(serving["target"], f"http://{metrics}/metrics" if metrics else "", process.pid)
    finally:
        _stop(process, stop_seconds)
        if reader.is_alive():
            reader.join()
        log.close()


def _flag(name: str, value: object) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name}={value}"


def _wait_until_serving(process: subprocess.Popen[str], log: IO[str], seconds: float) -> dict[str, Any]:
    late = threading.Timer(seconds, process.kill)  # the end of the process ends its log
    late.start()
    said = []
    try:
        for line in log:
            entry = _parse(line)
            if entry.get("event") == "serving":
                return entry
            said.append(line)
    finally:
        late.cancel()
    raise RuntimeError(f"losswire-server did not start: {''.join(said).strip()}")


def _pass_on(log: IO[str], rank: int) -> None:
    for line in log:
        if _rank(_parse(line).get("level", "error")) >= rank:
            sys.stderr.write(line)


def _rank(level: str) -> int:
    return LEVELS.get(level.upper(), logging.ERROR)


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
