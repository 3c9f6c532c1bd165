"""Clients close in seconds, and end with their process, whatever the state of gRPC's threads and locks."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from losswire_client import Client, LosswireError
from losswire_client._deadline import Deadline
from losswire_client._flow import run as run_flow
from losswire_client._wires.endpoint import Endpoint
from losswire_client._wires.grpc_wire import GrpcWire
from tests.helpers import eventually
from tests.processes import run

PROGRAM = """
import sys, threading, time
import numpy as np
from losswire_client import Client

logits, target = np.zeros((256, 4000), np.float32), np.zeros(256, np.int64)
start, leave, main = threading.Thread.start, threading.Condition.__exit__, threading.get_ident()

class Interrupt(BaseException):
    pass

def no_threads(after=0):
    starts = []
    def fail(thread):
        starts.append(thread)
        if len(starts) > after:
            raise RuntimeError("can't start new thread")
        start(thread)
    threading.Thread.start = fail

def interrupt(condition, *error):
    if threading.get_ident() != main or "grpc" not in sys._getframe(1).f_code.co_filename:
        return leave(condition, *error)
    threading.Condition.__exit__ = leave
    raise Interrupt  # as a signal's handler does between two lines, and the lock stays locked

def attempt(function, *arguments):
    try:
        print(type(function(*arguments)).__name__)
    except (Exception, Interrupt) as error:
        print(f"{type(error).__name__}: {error}")
    threading.Thread.start = start

def close(client):
    began = time.monotonic()
    client.close()
    print("closed" if time.monotonic() - began < 5 else "late")

def connected(transport):
    client = Client(sys.argv[1], timeout=10, transport=transport)
    client.capabilities()
    return client

leasing, streaming = connected("shared_memory"), connected("stream")
calls = [(leasing.empty, 3), (streaming.cross_entropy, logits, target)]
"""
NO_THREADS = "LosswireError: this process cannot start the threads that a call needs: can't start new thread"


def said(target: str, body: str) -> list[str]:
    """The output of a program, which must end by itself."""
    ran = run([sys.executable, "-c", PROGRAM + body, target], capture_output=True, text=True, seconds=40)
    assert ran.returncode == 0, ran.stderr
    lines: list[str] = ran.stdout.splitlines()
    return lines


def test_lack_of_threads_is_told(target):
    body = """
for call in calls:
    no_threads()
    attempt(*call)
    no_threads(after=1)  # as if another had taken the last one
    attempt(*call)
    attempt(*call)
no_threads()
close(leasing)
close(streaming)
"""
    assert said(target, body) == [NO_THREADS, NO_THREADS, "ndarray", NO_THREADS, NO_THREADS, "Result", *["closed"] * 2]


def test_close_without_an_event_thread(target):
    body = """
for call in calls:
    no_threads(after=1)
    attempt(*call)
del leasing, call, calls
print("gone")
"""
    assert said(target, body) == [NO_THREADS, NO_THREADS, "gone"]


def test_interrupt_amid_grpcs_lock_is_survived(target):
    body = """
for call in calls:
    threading.Condition.__exit__ = interrupt
    attempt(*call)
    for _ in range(2):
        thread = threading.Thread(target=attempt, args=call)
        thread.start()
        thread.join()
close(leasing)
close(streaming)
"""
    assert said(target, body) == ["Interrupt: ", *["ndarray"] * 2, "Interrupt: ", *["Result"] * 2, *["closed"] * 2]


@pytest.fixture
def _hasty(monkeypatch):
    for module in ("connection", "grpc_wire"):
        monkeypatch.setattr(f"losswire_client._wires.{module}.CLOSING_SECONDS", 0.1)


@pytest.mark.usefixtures("_hasty")
def test_close_in_the_event_thread(target):
    with Client(target, timeout=20) as client:
        place, closed = client.empty(3), threading.Event()
        wire: Any = client._connection.wire()
        call = wire._evaluate_stream(iter(()), timeout=20)
        began = time.monotonic()

        def close() -> None:
            client.close()
            closed.set()

        call.add_callback(close)
        assert closed.wait(20)
        assert time.monotonic() - began < 15
        assert place.shape == (3,)


@pytest.mark.usefixtures("_hasty")
def test_client_closes_during_name_lookup(target, monkeypatch):
    known, opens, opened = threading.Event(), threading.Event(), Endpoint.open

    def open_late(*arguments: Any) -> Any:
        opens.set()
        known.wait(30)
        return opened(*arguments)

    monkeypatch.setattr(Endpoint, "open", open_late)
    client = Client(target)
    with ThreadPoolExecutor() as threads:
        call = threads.submit(client.ping)
        assert opens.wait(20)
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 15
        known.set()
        with pytest.raises(LosswireError, match="this client is closed"):
            call.result(20)


@pytest.fixture
def wire(target):
    wire = GrpcWire(Endpoint(target, None, None))
    yield wire
    run_flow(wire.close())


def leased(wire: GrpcWire) -> Any:
    return run_flow(wire.lease(2**20, Deadline(20)))


def test_lease_takes_no_thread(wire):
    before = threading.active_count()
    region = leased(wire)
    eventually(lambda: threading.active_count() <= before)  # a timer ends by itself
    assert region.is_leased


def test_lease_that_many_threads_end_leaves_no_event(wire):
    region = leased(wire)
    (call,) = region.end.args
    assert call._state.due
    with ThreadPoolExecutor(8) as threads:
        for ended in [threads.submit(region.end) for _ in range(16)]:
            ended.result(20)
    assert not region.is_leased
    assert not call._state.due


def test_lease_ends_after_its_wire(wire):
    region = leased(wire)
    run_flow(wire.close())
    region.end()
    assert not region.is_leased
