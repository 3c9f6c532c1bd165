"""A server as a process of this one's, which it does not outlive."""

import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, cast

from losswire_client import LosswireError

GUARD = Path(__file__).with_name("_guard.py")
SERVER = (sys.executable, "-m", "losswire_server")
HEALTH = (sys.executable, "-m", "losswire_server.health")
HEALTH_SECONDS = 30.0
SHOWN_LINES = 20  # of what a server said before its end

Told = dict[str, Any]


class ServerProcess:
    """A server, which is started at once.

    Args:
        settings: Its settings by their names. It is told them by its environment, since others see a command's
            arguments. Other variables ``LOSSWIRE_*`` are ignored.

    Attributes:
        pid: Process id of its guard.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        level = "debug" if settings.get("log_level") == "debug" else "info"  # at which it says that it serves
        told = {**settings, "log_format": "json", "log_level": level}
        others = {name: value for name, value in os.environ.items() if not name.startswith("LOSSWIRE_")}
        self._environment = others | variables(told)
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, str(GUARD), *SERVER],
            env=self._environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",  # what gRPC's core writes may be anything
        )
        self.pid = self._process.pid
        self._told: Future[Told] = Future()
        threading.Thread(target=self._read, name="losswire-server", daemon=True).start()

    def told(self, seconds: float) -> Told:
        """What it says of itself once it serves: its ``target``, and where its ``metrics`` are.

        Raises:
            LosswireError: It has ended, or does not serve in time.
        """
        try:
            return self._told.result(seconds)
        except TimeoutError:
            raise LosswireError(f"the server does not serve within {seconds:g} seconds of its start") from None

    def is_well(self) -> bool:
        """Whether it says that it serves."""
        if self._process.poll() is not None or not self._told.done():
            return False
        told = self._told.result()
        ports = {name: told[of].rpartition(":")[2] for name, of in PORTS.items() if told[of]}
        environment = self._environment | variables(ports)
        done = subprocess.run(HEALTH, env=environment, capture_output=True, timeout=HEALTH_SECONDS, check=False)  # noqa: S603 - our own program
        return done.returncode == 0

    def stop(self, seconds: float) -> int:
        """Has it end its calls, and returns its exit status."""
        cast(IO[str], self._process.stdin).close()
        return self._process.wait(seconds)

    def _read(self) -> None:
        said = deque[str](maxlen=SHOWN_LINES)
        for line in cast(IO[str], self._process.stderr):
            sys.stderr.write(line)
            said.append(line)
            if not self._told.done() and (told := serving(line)):
                self._told.set_result(told)
        if not self._told.done():
            self._told.set_exception(LosswireError(f"the server has ended before it served: {''.join(said).strip()}"))


PORTS = {"port": "target", "metrics_port": "metrics"}  # settings, and where a server tells what came of them


def serving(line: str) -> Told | None:
    """What a line of a server's log tells, if it is that it serves."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and entry.get("event") == "serving" else None


def variables(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as variables of the environment."""
    return {
        f"LOSSWIRE_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
        if value is not None
    }
