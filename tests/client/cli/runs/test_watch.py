"""``losswire runs watch``."""

import json
import os
import signal
import subprocess
import sys
from io import StringIO

import pytest
from rich.console import Console

from tests.client.cli.runs.conftest import LOGITS, TARGET
from tests.present import present
from tests.processes import started

COMMAND = [sys.executable, "-m", "losswire_client.cli", "runs", "watch"]


@pytest.fixture
def watching(target):
    """Starts ``losswire runs watch``."""

    def start(*arguments):
        environment = os.environ | {"LOSSWIRE_TARGET": target}
        command = [*COMMAND, *arguments, "--interval", "0.1"]
        return started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    return start


def test_watch_ends_when_the_run_is_finished(watching, make):
    run = make("watched", expected_keys=4)
    with watching("watched") as process:
        lines = present(process.stdout)
        assert lines.readline().startswith("watched: 3 of 4 keys, 30 rows, mean loss ")
        run.evaluate(LOGITS, TARGET, key="last")
        assert lines.readline().startswith("watched: 4 of 4 keys, 60 rows, mean loss ")
        run.finish()
        assert lines.read().endswith(", finished\n")
        assert process.wait(20) == 0


def test_watch_of_a_finished_run_shows_it_once(losswire, make):
    result = make("over").finish(count=3)
    shown = losswire("runs", "watch", "over", "--json")
    assert shown.exit_code == 0
    assert [json.loads(line)["mean"] for line in shown.stdout.splitlines()] == [result.mean]


def test_bar_stays_at_a_terminal(client, make, losswire, monkeypatch):
    make("bar", expected_keys=3).finish()
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr("losswire_client.cli._output._console", lambda _stream: console)
    assert losswire("runs", "watch", "bar").exit_code == 0
    assert f"3 of 3 keys, 30 rows, mean loss {client.get_run('bar').result().mean:#.6g}" in screen.getvalue()


def test_interrupt_ends_watch_quietly(watching, make):
    make("endless")
    with watching("endless") as process:
        assert present(process.stdout).readline().startswith("endless: 3 keys, 30 rows")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert present(process.stderr).read() == ""


@pytest.mark.slow
def test_run_that_is_deleted_ends_watch_with_an_error(watching, make):
    run = make("deleted")
    with watching("deleted") as process:
        assert present(process.stdout).readline().startswith("deleted: 3 keys, 30 rows")
        run.delete()
        assert process.wait(20) == 1
        assert present(process.stderr).read() == "losswire: there is no run 'deleted'\n"
