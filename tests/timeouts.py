"""Ends every test by its timeout, and the session by its own: a plugin for pytest.

What pytest-timeout raises in a test does not always end it: it is raised once, in Python code only, and not at all
after the test has failed, so that its teardown may be stuck for ever. So each process of pytest has a watchdog, which
ends it and what it has started, ``timeout_grace`` seconds after the timeout. pytest-xdist says in which test a worker
has ended so.
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
SESSION_SECONDS = 3600.0  # that a session may take, where no session_timeout is set
EXIT_SECONDS = 60.0  # that a process may take to exit after its session


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("timeout_grace", "Seconds after its timeout when a test that has not ended is killed.", default="60")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(os, "pidfd_open") or config.getoption("usepdb"):
        return
    if hasattr(config, "workerinput") and os.getpgrp() != os.getpid():
        os.setsid()  # so that all that a worker starts can be told from what others have started
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
