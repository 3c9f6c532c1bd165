"""Servers on a real cluster, and the guard that ends them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import ray
import torch

import losswire_client.ray
from losswire_client import Client, InvalidArgumentError, LosswireError
from losswire_client.ray import ServerActor, serve
from tests.client.ray.living import is_alive
from tests.helpers import eventually
from tests.present import present
from tests.processes import started

GUARD = Path(present(losswire_client.ray.__file__)).with_name("_guard.py")
SLEEPER = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPER}"


@pytest.mark.alone
@pytest.mark.usefixtures("cluster")
def test_several_servers_serve_one_client():
    with serve(2, num_gpus=0, num_cpus=0, host="127.0.0.1", metrics=False) as servers:
        assert len(set(servers.targets)) == 2
        assert servers.are_well() == [True, True]
        assert ray.get(servers.actors[0].metrics.remote()) is None
        with Client(servers.targets) as client:
            assert client.cross_entropy([[1.0, 2.0]], [0]).row_count == 1
        guards = ray.get([actor.pid.remote() for actor in servers.actors])
    assert not any(map(is_alive, guards))


@pytest.mark.alone
@pytest.mark.usefixtures("cluster")
def test_server_that_cannot_start_says_why():
    with pytest.raises(LosswireError, match=r"ended before it served: .*max_message_bytes"):
        serve(num_gpus=0, num_cpus=0, host="127.0.0.1", max_message_bytes=3)
    actor = ServerActor.options(num_cpus=0).remote(host="127.0.0.1", nonsense=1, metrics_port=99999)
    with pytest.raises(LosswireError, match="metrics_port"):
        ray.get(actor.target.remote())


@pytest.mark.alone
@pytest.mark.usefixtures("cluster")
def test_server_with_a_gpu_uses_it():
    if torch.cuda.is_available():
        with serve(host="127.0.0.1", num_cpus=0) as servers, Client(servers.targets) as client:
            assert client.capabilities().device == "cuda"
    else:
        with pytest.raises(LosswireError, match=r"ended before it served: .*cuda"):
            serve(host="127.0.0.1", num_cpus=0)


@pytest.mark.parametrize(
    ("servers", "settings", "argument"),
    [(0, {}, "servers"), (2.0, {}, "servers"), (2, {"runs": "runs.db"}, "runs")],
)
def test_wrong_arguments_are_refused(servers, settings, argument):
    with pytest.raises(InvalidArgumentError) as told:
        serve(servers, **settings)
    assert told.value.argument == argument


@pytest.mark.parametrize("program", [SLEEPER, pytest.param(STUBBORN, marks=pytest.mark.slow)])
def test_guard_ends_its_command_when_its_input_ends(program):
    command = [sys.executable, str(GUARD), sys.executable, "-c", program]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as guard:
        pid = int(present(guard.stdout).readline())
        assert is_alive(pid)
        present(guard.stdin).close()
        guard.wait(60)
        assert not is_alive(pid)


def test_command_does_not_outlive_a_killed_guard():
    command = [sys.executable, str(GUARD), sys.executable, "-c", SLEEPER]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as guard:
        pid = int(present(guard.stdout).readline())
        os.kill(guard.pid, signal.SIGKILL)
        eventually(lambda: not is_alive(pid))


def test_guard_ends_with_its_command():
    with started([sys.executable, str(GUARD), sys.executable, "-c", "exit(3)"], stdin=subprocess.PIPE) as guard:
        assert guard.wait(60) == 3
