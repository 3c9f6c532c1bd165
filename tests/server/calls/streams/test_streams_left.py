"""Streams whose callers leave, run out of time or are killed hold no memory any more, and harm no other caller."""

import gc
import logging
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from losswire_server import Server
from losswire_server.calls.streams import flow, whole
from tests.helpers import eventually, serving, total
from tests.present import present
from tests.processes import started
from tests.server.calls.raw_streams import METHOD, RawStream, connection
from tests.server.requests.stream_requests import GRADIENT, MEAN, check_served, classes

ROWS = 64  # of each slab, of 256 KiB
WIDE: dict[str, Any] = {"rows": (40 * ROWS,), "count": 1024}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def channel(server: Server) -> Iterator[grpc.Channel]:
    with connection(server) as connected:
        yield connected


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> "Iterator[weakref.WeakSet[object]]":
    """The streams and batches that are still alive in the server, without a garbage collection."""
    known: weakref.WeakSet[object] = weakref.WeakSet()
    for module, name in ((flow, "_Stream"), (whole, "StreamRequest")):
        base: Any = getattr(module, name)

        class Watched(base):  # type: ignore[misc]
            def __init__(self, *args: object) -> None:
                super().__init__(*args)
                known.add(self)

        monkeypatch.setattr(module, name, Watched)
    gc.disable()
    yield known
    gc.enable()


@pytest.fixture(autouse=True)
def _server_is_as_it_was(server: Server, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    eventually(lambda: inflight_bytes(server) == 0)
    rows = counts(server)["rows"]
    with connection(server) as another:
        check_served(another)
    after = counts(server)
    assert after["Internal"] == after["Unknown"] == 0
    assert after["rows"] == rows + 2 * 60  # only the neighbour's rows, which went both ways
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert [error for error in errors if "ExecuteBatchError" not in error] == []  # see losswire_server.process.logs


def counts(server: Server) -> dict[str, float]:
    get = server.registry.get_sample_value
    codes = ("OK", "Cancelled", "DeadlineExceeded", "InvalidArgument", "Internal", "Unknown")
    counted = {code: get("grpc_server_handled_total", METHOD | {"grpc_code": code}) or 0 for code in codes}
    counted["started"] = get("grpc_server_started_total", METHOD) or 0
    counted["received"] = get("grpc_server_msg_received_total", METHOD) or 0
    counted["rows"] = total(server.registry, "losswire_rows_total", loss="cross_entropy")
    return counted


def left(counted: dict[str, float]) -> float:
    return counted["Cancelled"] + counted["DeadlineExceeded"]


def inflight_bytes(server: Server) -> float:
    return present(server.registry.get_sample_value("losswire_inflight_bytes"))


@pytest.mark.parametrize("fields", [{}, {"outputs": GRADIENT}, {"outputs": GRADIENT, "reduction": MEAN}])
@pytest.mark.parametrize("leave", ["cancel", "deadline", "disconnect"])
def test_leaving_in_the_middle_holds_nothing(alive, server, channel, leave, fields):
    batch, before, left_before = classes(**WIDE, **fields), counts(server)["received"], left(counts(server))
    ahead = batch.slabs(40 * ROWS, "target")
    stream = RawStream(channel, timeout=0.4 if leave == "deadline" else 30)
    stream.send(batch.header(), *ahead, *batch.slabs(ROWS, "input")[:5])
    eventually(lambda: counts(server)["received"] == before + 7 or left(counts(server)) > left_before)
    assert leave == "deadline" or (inflight_bytes(server) > 0 and len(alive) == 2)
    if leave == "cancel":
        stream.call.cancel()
    elif leave == "disconnect":
        channel.close()
    eventually(lambda: left(counts(server)) == left_before + 1)
    eventually(lambda: inflight_bytes(server) == len(alive) == 0)
    stream.end()


@pytest.mark.parametrize("reads", [0, 1])
def test_leaving_at_any_moment_holds_nothing(alive, server, channel, reads):
    batch, before = classes(**WIDE, outputs=GRADIENT), counts(server)
    messages = [batch.header(), *batch.slabs(ROWS)]
    for i in range(50):
        stream = RawStream(channel).send(*messages[: i % 42])
        for _ in range(reads if i % 42 > 1 else 0):
            stream.read()
        stream.close()
    eventually(lambda: counts(server)["started"] - before["started"] == left(counts(server)) - left(before))
    eventually(lambda: inflight_bytes(server) == len(alive) == 0)
    assert counts(server)["InvalidArgument"] == before["InvalidArgument"]


@pytest.mark.slow
def test_caller_that_is_killed_holds_nothing(alive, server):
    code = f"""
import sys
import grpc
from tests.server.calls.raw_streams import RawStream
from tests.server.requests.stream_requests import GRADIENT, classes
batch = classes({WIDE["rows"]}, {WIDE["count"]}, outputs=GRADIENT)
stream = RawStream(grpc.insecure_channel("127.0.0.1:{server.port}")).send(batch.header(), *batch.slabs({ROWS})[:9])
stream.read()
print("reading", flush=True)
sys.stdin.read()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command, before = [sys.executable, "-c", code], left(counts(server))
    with started(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as caller:
        assert present(caller.stdout).readline() == "reading\n"
        eventually(lambda: len(alive) == 2 and inflight_bytes(server) > 0)
        caller.send_signal(signal.SIGKILL)
    eventually(lambda: left(counts(server)) == before + 1)
    eventually(lambda: inflight_bytes(server) == len(alive) == 0)


def test_stream_that_is_refused_holds_nothing(alive, server, channel):
    batch, before = classes(**WIDE, outputs=GRADIENT), counts(server)["InvalidArgument"]
    wrong = classes((ROWS,), 1024, outputs=GRADIENT)
    wrong.request.target.data = b"\xff" * 8 * ROWS
    for messages in ([batch.slab(0, ROWS)] * 2, [batch.slab(0, ROWS), batch.header()], [wrong.slab(0, ROWS)], []):
        RawStream(channel).send(batch.header(), *messages).end().error()
    assert counts(server)["InvalidArgument"] == before + 4
    eventually(lambda: inflight_bytes(server) == len(alive) == 0)


def test_stream_that_ends_holds_nothing(alive, server, channel):
    check_served(channel)
    eventually(lambda: inflight_bytes(server) == len(alive) == 0)
