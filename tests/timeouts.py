"""A plugin for pytest that ends every test by its timeout, and the session by the session's timeout.

The error that pytest-timeout raises does not always end a test. It is raised once, only in Python code, and not after
the test has failed, so a teardown may hang. So each process of pytest has a watchdog. ``timeout_grace`` seconds after
the timeout it ends the process and all processes that it has started. pytest-xdist then says in which test the worker
ended.
"""

import math
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WATCHDOG = Path(__file__).with_name("watchdog.py")
SESSION_SECONDS = 3600.0  # how long a session may take if no session_timeout is set
EXIT_SECONDS = 60.0  # how long a process may take to exit after its session


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("timeout_grace", "Seconds after its timeout when a test that has not ended is killed.", default="60")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(os, "pidfd_open") or config.getoption("usepdb"):
        return
    if hasattr(config, "workerinput") and os.getpgrp() != os.getpid():
        os.setsid()  # so that the processes of a worker can be told apart from all others
    config.pluginmanager.register(Watched(config), "watched")


class Watched:
    """Tells the watchdog how long this process may go on."""

    def __init__(self, config: pytest.Config) -> None:
        self._grace = float(config.getini("timeout_grace"))
        session = config.getoption("session_timeout") or config.getini("session_timeout") or SESSION_SECONDS
        command = [sys.executable, "-SE", str(WATCHDOG), str(os.getpid()), str(float(session) + self._grace)]
        reads, self._writes = os.pipe()
        subprocess.run(command, stdin=reads, start_new_session=True, check=True)
        os.close(reads)

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_set_timer(self, settings: Any) -> None:
        self._allow(settings.timeout + self._grace)

    def pytest_runtest_logfinish(self) -> None:
        self._allow(math.inf)

    def pytest_enter_pdb(self) -> None:
        self._allow(math.inf)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._allow(EXIT_SECONDS)

    def _allow(self, seconds: float) -> None:
        os.write(self._writes, struct.pack("d", seconds))
