"""Tests end by their timeouts however they hang, and leave no process behind."""

import os
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.helpers import eventually
from tests.processes import run

ROOT = Path(__file__).parents[1]
HANGING = """
import ctypes, subprocess, threading
import grpc, pytest

def never_ends():
    return subprocess.Popen(["sh", "-c", "sleep 600 & wait"])

def lock_twice(library):  # which no signal interrupts
    mutex = ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)

@pytest.fixture
def channel():
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        yield channel

@pytest.fixture
def process():
    with never_ends() as process:
        yield process

def test_c_that_holds_the_gil():
    never_ends()
    lock_twice(ctypes.PyDLL(None))

def test_c_that_releases_the_gil():
    lock_twice(ctypes.CDLL(None))

def test_teardown_of_a_channel(channel, monkeypatch):
    def fail(thread):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(threading.Thread, "start", fail)
    channel.unary_stream("/nobody/delivers")(b"")

def test_teardown_of_a_process(process):
    assert False

def test_process():
    with never_ends():
        pass

def test_fine():
    never_ends()
"""
ENDED_BY_THE_WATCHDOG = [
    "c_that_holds_the_gil",
    "c_that_releases_the_gil",
    "teardown_of_a_channel",
    "teardown_of_a_process",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd_open"),
]


@pytest.fixture
def hanging(tmp_path):
    """Runs tests that hang, and returns pytest's output."""
    (tmp_path / "test_hanging.py").write_text(HANGING)
    (tmp_path / "pytest.ini").touch()
    mark = f"/{uuid4()}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(ROOT), "MARK": mark, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = ["-p", "xdist", "-p", "pytest_timeout", "-p", "tests.timeouts"]

    def said(*options: str) -> str:
        command = [sys.executable, "-m", "pytest", *plugins, "-o", "timeout_grace=1", *options]
        text: str = run(command, env=environment, cwd=tmp_path, capture_output=True, text=True).stdout
        eventually(lambda: not left(mark))
        return text

    return said


def left(mark: str) -> list[str]:
    """Processes with this mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:  # the process has ended, or belongs to another user
            continue
    return found


def test_hanging_tests_end_and_others_run(hanging):
    text = hanging("-n", "3", "--timeout", "1", "test_hanging.py")
    for name in ENDED_BY_THE_WATCHDOG:
        assert f"crashed while running 'test_hanging.py::test_{name}'" in text
    assert "Failed: Timeout (>1.0s) from pytest-timeout" in text
    assert "1 passed" in text


@pytest.mark.parametrize("workers", ["0", "2"])
def test_session_that_hangs_is_ended(hanging, workers):
    assert "passed" not in hanging("-n", workers, "--session-timeout", "1", "-k", "gil", "test_hanging.py")
