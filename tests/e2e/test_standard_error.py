"""The server's log in a process of its own, whatever standard error is, and whatever callers do."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hyperframe.frame import GoAwayFrame, SettingsFrame

from losswire_client import Client
from tests.e2e.test_process import COMMAND, read_event
from tests.present import present
from tests.processes import started
from trials.peers.frames import PREFACE

EVIL = b'evil\n{"event": "serving"}\n\x1b[31mred\r\n'


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextmanager
def unread_pipe() -> Iterator[int]:
    """A full pipe that nobody reads."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    yield writing
    os.close(reading)
    os.close(writing)


@contextmanager
def left_pipe() -> Iterator[int]:
    """A pipe whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def full_disk() -> Iterator[int]:
    with open("/dev/full", "wb") as full:
        yield full.fileno()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [unread_pipe, left_pipe, full_disk],
)
def test_standard_error_keeps_nobody_waiting(kind):
    port = free_port()
    flags = [f"--port={port}", "--access-log-per-second=1000000", "--log-level=debug"]
    with (
        kind() as stderr,
        started([*COMMAND, *flags], stderr=stderr) as process,
        Client(f"127.0.0.1:{port}", timeout=60) as client,
    ):
        for _ in range(300):
            assert client.cross_entropy([1.0, 2.0], 0).row_count == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.slow
def test_callers_of_grpc_forge_no_line():
    """gRPC's core prints the text of a GOAWAY frame, unless told not to."""
    with started(COMMAND, stderr=subprocess.PIPE, text=True) as process:
        serving = read_event(process, "serving")
        host, _, port = serving["target"].rpartition(":")
        go_away = SettingsFrame(0).serialize() + GoAwayFrame(0, 0, 11, EVIL).serialize()
        for sent in (PREFACE + go_away, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + EVIL, PREFACE + b"\xff" * 99):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(sent)
                connection.settimeout(0.2)
                try:
                    while connection.recv(1000):
                        pass
                except OSError:
                    pass
        process.send_signal(signal.SIGTERM)
        said = present(process.stderr).read()
        assert process.wait(20) == 0
    assert [json.loads(line)["event"] for line in said.splitlines()] == ["draining", "stopped"]
