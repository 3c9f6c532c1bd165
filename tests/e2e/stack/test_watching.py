"""Pieces of the stack that end by themselves."""

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from deploy.stack.watching import watching
from tests.documents import ROOT
from tests.present import present
from tests.processes import run, started

SECONDS = 30.0  # in which what is expected must come about
WAITING = [sys.executable, "-c", "input()"]


@pytest.fixture
def piece():
    with started(WAITING, stdin=subprocess.PIPE, text=True) as process:
        yield process


def test_piece_that_is_killed_stops_all(piece, capsys):
    stop = threading.Event()
    with watching({"a piece": piece.pid}, stop) as ended:
        piece.send_signal(signal.SIGKILL)
        assert stop.wait(SECONDS)
    assert ended == ["a piece has ended by SIGKILL"]
    assert capsys.readouterr().err == "stack: a piece has ended by SIGKILL, so all of it ends\n"
    assert piece.wait(SECONDS) == -signal.SIGKILL  # whoever started it still learns how it ended


def test_piece_that_leaves_stops_all(piece):
    stop = threading.Event()
    with watching({"a piece": piece.pid}, stop) as ended:
        present(piece.stdin).write("\n")
        present(piece.stdin).close()
        assert stop.wait(SECONDS)
    assert ended == ["a piece has ended with status 0"]


def test_piece_may_end_when_all_shall_stop(piece, capsys):
    stop = threading.Event()
    with watching({"a piece": piece.pid}, stop) as ended:
        stop.set()
        piece.kill()
    assert ended == []
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_stack_tells_which_piece_has_ended():
    command = [sys.executable, "-m", "deploy.stack", "--any-ports"]
    with started(command, cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
        while "It runs" not in (line := present(process.stdout).readline()):
            assert line, present(process.stderr).read()
        (envoy,) = children(process.pid, "envoy")
        os.kill(envoy, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    said = [line for line in errors.splitlines() if not line.startswith("trying again")]  # the callers' own words
    assert said == ["stack: Envoy has ended by SIGKILL, so all of it ends"]


def children(parent: int, name: str) -> list[int]:
    """The ids of processes that a process has started, by what they run."""
    listed = run(["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if re.search(rf"/{name}\s", line)]
