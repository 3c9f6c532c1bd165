"""Clients in the child of a fork connect anew, or say why they cannot, and never hang."""

import os
import subprocess
import sys

import pytest

from tests import processes

PROGRAM = """
import asyncio, os, sys, threading
import numpy as np
from losswire_client import AsyncClient, Client

logits, target = np.zeros((256, 1000), np.float32), np.zeros(256, np.int64)
client, awaited = (kind({target!r}, timeout=20) for kind in (Client, AsyncClient))

async def evaluate():
    return (await awaited.cross_entropy(logits[:2], target[:2])).row_count

def in_child(function):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            print(function(), flush=True)
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
        os._exit(0)
    ended = os.waitpid(child, 0)
    assert ended == (child, 0), ended

{body}
"""


def said(target: str, body: str, **environment: str) -> list[str]:
    """The output of a program."""
    ran = run(target, body, **environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def run(target: str, body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command, environment = (
        [sys.executable, "-c", PROGRAM.format(target=target, body=body)],
        {**os.environ, **environment},
    )
    return processes.run(command, env=environment, capture_output=True, text=True)


def test_used_client_connects_anew_in_a_child(target):
    lines = said(
        target,
        """
place = client.empty(logits.shape)
place[...] = 0
print(client.cross_entropy(place, target).row_count)
in_child(lambda: client.cross_entropy(logits, target, grad=True).row_count)
in_child(lambda: client.cross_entropy(place, target, grad=True).row_count)
in_child(lambda: Client(client._endpoint.name).ping() > 0)
in_child(lambda: in_child(lambda: client.ping() > 0))
print(client._session.shared.holds(place), client.cross_entropy(place, target).row_count)
""",
    )
    assert lines == ["256", "256", "256", "True", "True", "None", "True 256"]


def test_child_leaves_its_parents_leases_alone(target):
    lines = said(
        target,
        """
import gc
place = client.empty(logits.shape)
place[...] = 0
def drop():
    global place, client
    place = client = None
    return gc.collect() >= 0
in_child(drop)
print(client._session.shared.holds(place), client.cross_entropy(place, target).row_count)
""",
    )
    assert lines == ["True", "True 256"]


def test_grpc_prepares_for_a_fork_beside_a_lease(target):
    ran = run(target, "place = client.empty(3)\nfor _ in range(3): in_child(lambda: client.ping() > 0)")
    assert (ran.returncode, ran.stdout.splitlines()) == (0, ["True"] * 3)
    assert "skipping fork() handlers" not in ran.stderr  # after which one child in ten crashed


def test_fork_amid_calls_works(target):
    lines = said(
        target,
        """
stop = threading.Event()
def call():
    while not stop.is_set():
        client.cross_entropy(logits[:8], target[:8])
threads = [threading.Thread(target=call) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(5):
    in_child(lambda: client.cross_entropy(logits[:3], target[:3]).row_count)
stop.set()
for thread in threads:
    thread.join()
print("parent", client.cross_entropy(logits, target).row_count)
""",
    )
    assert lines == ["3"] * 5 + ["parent 256"]


@pytest.mark.slow
def test_unused_async_client_works_in_a_child(target):
    assert said(target, "client.ping(); in_child(lambda: asyncio.run(evaluate()))") == ["2"]


@pytest.mark.slow
def test_closed_async_client_works_in_a_child(target):
    body = """
async def use():
    async with AsyncClient(awaited._endpoint.name) as client:
        return await client.ping() > 0
print(asyncio.run(use()))
in_child(lambda: asyncio.run(evaluate()))
"""
    assert said(target, body) == ["True", "2"]


@pytest.mark.slow
def test_used_async_client_names_substitute(target):
    lines = said(
        target, "print(asyncio.run(evaluate())); in_child(lambda: asyncio.run(evaluate())); in_child(client.ping)"
    )
    assert lines[0] == "2"
    assert lines[1].startswith(
        "LosswireError AsyncClient does not work in a process that was forked from one which was"
    )
    assert float(lines[2]) > 0


@pytest.mark.slow
def test_aio_used_elsewhere_is_refused(target):
    other = f"""
import grpc.aio
async def ask():
    global channel  # which stays open
    channel = grpc.aio.insecure_channel({target!r})
    await channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
asyncio.run(ask())
awaited._timeout = 1
try:
    in_child(lambda: asyncio.run(evaluate()))
except AssertionError as ended:
    print("crashed", ended)
"""
    lines = said(target, other)
    # Sometimes gRPC itself crashes there (signal 11), which this package cannot prevent. It never hangs.
    assert lines[0].startswith(("DeadlineExceededError no answer from", "crashed"))


IN_A_LOOP = """
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
print(asyncio.run_coroutine_threadsafe(evaluate(), loop).result())
"""


@pytest.mark.slow
@pytest.mark.parametrize("action", ["default", "error"])
def test_fork_of_an_awaited_client_warns(target, action):
    ran = run(target, IN_A_LOOP + "os.fork() or os._exit(0); client.ping()", PYTHONWARNINGS=action)
    assert ran.returncode == 0, ran.stderr
    assert "RuntimeWarning: gRPC may end the child of a process that is using AsyncClient" in ran.stderr


def test_fork_without_grpcs_support_is_safe(target):
    body = IN_A_LOOP + "for _ in range(5): in_child(lambda: 'well'); in_child(client.ping)"
    first, *others = said(target, body, GRPC_ENABLE_FORK_SUPPORT="0")
    assert (first, others[::2]) == ("2", ["well"] * 5)
    assert all(line.startswith("LosswireError gRPC does not work in this process") for line in others[1::2])


@pytest.mark.slow
@pytest.mark.parametrize("call", ["client.ping", "lambda: Client(client._endpoint.name).ping()"])
def test_unsupported_fork_is_told(target, call):
    (line,) = said(target, f"in_child({call})", GRPC_ENABLE_FORK_SUPPORT="0")
    assert line.startswith("LosswireError gRPC does not work in this process, which was forked with GRPC_ENABLE_FORK")
