"""Shared memory between processes: memory that is left when a caller or a server is killed."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from losswire_client import Client, UnavailableError
from losswire_server import RunningServer, launch
from tests.helpers import eventually
from tests.present import present
from tests.processes import started
from tests.server.memory.shared_memory import regions_open_in

# Evaluates for as long as it lives, with a resident array, copied ones, and gradients that it keeps.
CALLER = """
import sys, numpy as np
from losswire_client import Client
plain, shared = (Client(sys.argv[1], transport=transport) for transport in ("auto", "shared_memory"))
logits, target = plain.empty((256, 4000)), np.arange(256)
logits[...] = 0
kept = [shared.cross_entropy(logits, target, grad=True).grad for _ in range(3)]
print("ready", flush=True)
while True:
    plain.cross_entropy(logits, target, grad=True)
    shared.cross_entropy(kept[0], target, grad=True)
"""
SHAPE, TARGET = (256, 4000), np.arange(256)


@pytest.fixture
def server():
    with launch() as running:
        yield running


def leased_bytes(server: RunningServer) -> float:
    with urllib.request.urlopen(server.metrics_url) as response:
        lines = response.read().decode().splitlines()
    (line,) = [line for line in lines if line.startswith("losswire_shared_memory_bytes ")]
    return float(line.split()[1])


@contextmanager
def caller(server: RunningServer) -> Iterator[None]:
    """A caller that is killed at the end of the block."""
    with started([sys.executable, "-c", CALLER, server.target], stdout=subprocess.PIPE, text=True) as process:
        assert present(process.stdout).readline() == "ready\n"
        yield


@pytest.mark.slow
def test_killed_callers_leave_nothing_behind(server):
    for _ in range(2):
        with caller(server):
            assert leased_bytes(server) >= 5 * 256 * 4000 * 4
            assert regions_open_in(server.pid) > 0
        eventually(lambda: leased_bytes(server) == 0 and regions_open_in(server.pid) == 0)
    with Client(server.target) as client:
        assert client.cross_entropy(client.empty(SHAPE) * 0, TARGET).row_count == 256


@pytest.mark.slow
def test_killed_server_leaves_the_arrays():
    with launch(stop_seconds=1) as server, Client(server.target, transport="shared_memory", retry=None) as client:
        logits = client.empty(SHAPE)
        logits[...] = 1
        gradient = present(client.cross_entropy(logits, TARGET, grad=True).grad)
        before = gradient.copy()
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(UnavailableError):
            client.cross_entropy(logits, TARGET)
        assert (logits == 1).all()
        assert np.array_equal(gradient, before)


@pytest.mark.slow
def test_server_stops_while_leases_last():
    with launch(grace_seconds=60) as server:
        client = Client(server.target)
        place, start = client.empty(SHAPE), time.monotonic()
    assert time.monotonic() - start < 30  # less than the grace
    client.close()
    assert place.shape == SHAPE
