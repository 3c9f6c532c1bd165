"""Every command ends by its timeout, whatever its server does, and whatever gRPC and the threads do."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from tests.client.cli.files import write
from tests.processes import run

COMMANDS = [["ping"], ["eval", "PATH"], ["bench", "--shape", "2x3", "--seconds", "0.1"]]

# gRPC gets no threads here. Then it ends no call, however late it is.
STUCK = """
import sys, threading
import grpc._channel
from losswire_client import cli
from losswire_client.cli import _time_limit

_time_limit.GRACE_SECONDS = 0.3
grpc._channel._UnaryUnaryMultiCallable.__call__ = lambda *arguments, **options: threading.Event().wait()
cli.main()
"""
WITHOUT_THREADS = """
import threading
from losswire_client import cli

def fail(thread):
    raise RuntimeError("can't start new thread")

threading.Thread.start = fail
cli.main()
"""
WITH_A_STUCK_THREAD = """
import threading
from losswire_client import cli

threading.Thread(target=threading.Event().wait).start()
cli.main()
"""


@pytest.fixture
def path(tmp_path):
    return write(tmp_path, "npz", {"logits": np.zeros((99, 3), np.float32), "target": np.zeros(99, np.int64)})


def ended(program: str, *arguments: object) -> tuple[int, str]:
    """The exit code of a program, and what it writes to standard error."""
    done = run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, seconds=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_silent_server_ends_a_command(losswire, silent_target, path, command):
    arguments = [path if each == "PATH" else each for each in command]
    began = time.monotonic()
    result = losswire(*arguments, "--target", silent_target, "--timeout", 0.3)
    assert time.monotonic() - began < 20
    assert result.exit_code == 3
    assert f"no answer from {silent_target} within 0.3 seconds" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_late_call_ends_a_command(path, command):
    arguments = [path if each == "PATH" else each for each in command]
    code, said = ended(STUCK, *arguments, "--target", "127.0.0.1:1", "--timeout", "0.3")
    assert code == 3
    assert said.splitlines()[-1] == "losswire: no answer from 127.0.0.1:1 within 0.3 seconds"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["ping", "--target", "127.0.0.1:1"], 1),
        (["top", "--once", "--metrics-url", "http://127.0.0.1:1/metrics"], 3),
    ],
    ids=["ping", "top"],
)
def test_lack_of_threads_is_told(command, expected):
    code, said = ended(WITHOUT_THREADS, *command)
    assert code == expected
    assert said.startswith("losswire: ")
    assert said.endswith("can't start new thread\n")
    assert said.count("\n") == 1


def test_stuck_thread_does_not_delay_the_end(target):
    assert ended(WITH_A_STUCK_THREAD, "ping", "--target", target) == (0, "")


@pytest.mark.parametrize("start", ["HTTP/1.1 200 OK\r\nX-Slow: ", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 "])
def test_metrics_that_trickle_end_top(losswire, monkeypatch, start):
    monkeypatch.setattr("losswire_client.cli.monitor._scrape.TIMEOUT", 0.5)
    with trickling(start) as url:
        began = time.monotonic()
        result = losswire("top", "--once", "--metrics-url", url)
        assert time.monotonic() - began < 20
    assert (result.exit_code, result.stderr) == (3, f"losswire: cannot read metrics at {url}: timed out\n")


def test_part_of_metrics_is_not_read(losswire, monkeypatch):
    monkeypatch.setattr("losswire_client.cli.monitor._scrape.TIMEOUT", 0.5)
    wait = Future.result
    # Whoever waits for the metrics wakes only when their reader has ended.
    monkeypatch.setattr(Future, "result", lambda future, timeout=None: wait(future))  # noqa: ARG005
    with trickling("HTTP/1.1 200 OK\r\n\r\n") as url:
        result = losswire("top", "--once", "--metrics-url", url)
    assert (result.exit_code, result.stderr) == (3, f"losswire: cannot read metrics at {url}: timed out\n")


@contextmanager
def trickling(start: str) -> Iterator[str]:
    """The address of a server that sends a byte at a time, for longer than any caller waits."""
    left = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            connection.recv(4096)
            connection.sendall(start.encode())
            while not left.wait(0.05):
                connection.sendall(b"1")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
        finally:
            left.set()
            thread.join()
