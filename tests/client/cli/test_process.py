"""Behaviour that only a separate process can show: signals, and readers that leave."""

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.client.cli.files import write
from tests.present import present
from tests.processes import run, started

COMMAND = [sys.executable, "-m", "losswire_client.cli"]


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["ping"], ["ping", "--json"]])
def test_reader_that_left_is_no_error(target, arguments):
    read, write = os.pipe()
    os.close(read)
    environment = os.environ | {"LOSSWIRE_TARGET": target}
    done = run([*COMMAND, *arguments], stdout=write, stderr=subprocess.PIPE, env=environment)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_interrupt_ends_a_command_quietly(metrics_url):
    command = [*COMMAND, "top", "--metrics-url", metrics_url, "--interval", "0.1"]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert present(process.stdout).readline().startswith("losswire")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert present(process.stderr).read() == ""


def test_interrupt_waits_for_no_server(tmp_path):
    path = write(tmp_path, "npz", {"logits": np.zeros((99, 3), np.float32), "target": np.zeros(99, np.int64)})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [*COMMAND, "eval", str(path), "--batch-rows", "9", "--target", f"127.0.0.1:{silent.getsockname()[1]}"]
        with started(command, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            assert present(process.stderr).read() == ""
            connection.close()


INTERRUPTED_AT = """
import os, signal, sys

class Interrupting:
    def find_spec(name, *_):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
from losswire_command import main
main()
"""


@pytest.mark.parametrize("module", ["losswire_client._client", "losswire_client.cli._app"])
def test_interrupt_while_modules_load_ends_quietly(module):
    done = run([sys.executable, "-c", INTERRUPTED_AT, module], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
