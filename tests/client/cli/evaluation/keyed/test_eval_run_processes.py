"""Several processes on the files of one run, and one that is killed."""

import json
import os
import signal
import subprocess
import sys
from itertools import takewhile

import pytest

from losswire_client import NotFoundError
from tests.client.cli.evaluation.keyed.saved import save
from tests.helpers import eventually
from tests.processes import started

ROWS = 500
COMMAND = [sys.executable, "-m", "losswire_client.cli", "eval"]


@pytest.fixture
def file(tmp_path):
    return save(tmp_path / "rows.npz", ROWS)


@pytest.fixture
def evaluating(target):
    """Starts ``losswire eval --run NAME``, with a key for each row."""

    def start(name, *files):
        command = [*COMMAND, *files, "--run", name, "--block-rows", "1", "--json"]
        return started(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"LOSSWIRE_TARGET": target}
        )

    return start


def key_count(client, name):
    try:
        return client.get_run(name).progress().key_count
    except NotFoundError:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_stopped_command_goes_on_to_the_same_bits(sent, evaluating, added, client, exact, file):
    name = f"stopped.{sent.name}"
    with evaluating(name, file) as process:
        eventually(lambda: key_count(client, name) > 10)
        process.send_signal(sent)
        assert process.wait(20) in (-signal.SIGKILL, 130)
    before = key_count(client, name)
    assert before < ROWS
    said = added(name, file, "--finish")
    assert said["found_key_count"] >= before  # what was under way may have counted meanwhile
    assert said["added_key_count"] == ROWS - said["found_key_count"]
    assert client.get_run(name).result().sums == exact(file)


@pytest.mark.slow
def test_two_commands_with_other_files_expect_no_number(evaluating, client, losswire, exact, file):
    other = save(file.with_name("other.npz"), ROWS // 2)
    with evaluating("others", file) as a, evaluating("others", other) as b:
        eventually(lambda: key_count(client, "others") > 10)
        states = list(takewhile(lambda state: state.key_count < ROWS * 3 // 2, client.get_run("others").watch(0.1)))
        assert [process.wait(60) for process in (a, b)] == [0, 0]
    assert states
    assert {state.expected_keys for state in states} == {None}
    assert client.get_run("others").result().sums == exact(file, other)
    assert losswire("eval", file, other, "--run", "others", "--finish").exit_code == 0


@pytest.mark.slow
def test_two_commands_share_the_work_and_count_once(evaluating, client, exact, file):
    with evaluating("two", file) as a, evaluating("two", file) as b:
        said = [json.loads(process.communicate(timeout=60)[0]) for process in (a, b)]
    assert [process.returncode for process in (a, b)] == [0, 0]
    assert sum(each["added_key_count"] for each in said) == ROWS
    assert all(each["is_complete"] and each["run"]["row_count"] == ROWS for each in said)
    assert client.get_run("two").result().sums == exact(file)
