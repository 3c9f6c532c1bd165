"""Calls that are begun and left at once: their connection is ended, and no caller who stayed is told that it left."""

import logging
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import grpc
import pytest
from hyperframe.frame import PingFrame, SettingsFrame
from prometheus_client import CollectorRegistry

from losswire_server.calls.admission import Admission
from losswire_server.metrics.connections import ConnectionMetrics
from losswire_server.process.sockets import Endpoint, Sockets
from losswire_server.rpc.receiving.connections import Connection
from losswire_server.rpc.resets import Resets
from tests.e2e.test_process import COMMAND, read_event
from tests.helpers import eventually, serving
from tests.processes import started
from tests.server.calls.raw_streams import connection
from tests.server.rpc.receiving.waiting import ended_by
from tests.server.rpc.test_service import request
from trials.peers.frames import PREFACE, begun, reset

PEER = "ipv4:127.0.0.1:5"
PATH = "/losswire.v1.LossService/Evaluate"
PAIRS = 5000  # gRPC used to tell callers that they had left once 1000 calls waited


class FakeSockets(Sockets):
    def __init__(self) -> None:
        super().__init__()
        self.ended: list[Endpoint] = []

    def look(self) -> set[Endpoint]:
        return {Endpoint("127.0.0.1", 5)}

    def end(self, peer: Endpoint) -> bool:
        self.ended.append(peer)
        return True


def a_connection(peer: str = PEER) -> Connection:
    return Connection(peer, Admission(1).reservation())


@pytest.mark.parametrize(
    ("per_second", "peer", "times"), [(10, "ipv4:127.0.0.1:5", 1), (0, "ipv4:127.0.0.1:5", 0), (10, "unix:", 0)]
)
def test_too_many_resets_end_a_connection(per_second, peer, times):
    sockets, left, registry = FakeSockets(), a_connection(peer), CollectorRegistry()
    resets = Resets(sockets, per_second, ConnectionMetrics(registry))
    for _ in range(19):
        resets.count(left)
    assert (sockets.ended, ended_by(registry, "resets")) == ([], 0)
    for _ in range(15):  # also those that still come of the connection that was ended
        resets.count(left)
    assert sockets.ended == [Endpoint("127.0.0.1", 5)] * times
    assert ended_by(registry, "resets") == times


def test_resets_of_one_connection_do_not_end_another():
    sockets, connections = FakeSockets(), [a_connection(), a_connection()]
    resets = Resets(sockets, 10)
    for left in connections * 15:
        resets.count(left)
    assert sockets.ended == []


class Beside:
    """A caller who stays, and how its calls end."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.codes: list[grpc.StatusCode] = []
        self.longest = 0.0
        self._call: Any = channel.unary_unary(PATH)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        data = request().SerializeToString()
        while not self._over.is_set():
            start = time.monotonic()
            try:
                self._call(data, timeout=60)
                self.codes.append(grpc.StatusCode.OK)
            except grpc.RpcError as error:
                self.codes.append(error.code())
            self.longest = max(self.longest, time.monotonic() - start)

    def end(self) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def beside(channel: grpc.Channel) -> Iterator[Beside]:
    caller = Beside(channel)
    eventually(lambda: len(caller.codes) > 10)
    try:
        yield caller
    finally:
        caller.end()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A connection that has begun. What the server sends is thrown away."""
    with socket.create_connection(("127.0.0.1", port), 10) as attacker:
        attacker.sendall(PREFACE + SettingsFrame(0).serialize())
        assert attacker.recv(2**16)  # its settings: until they are acknowledged, it takes few calls
        attacker.sendall(SettingsFrame(0, flags=["ACK"]).serialize())
        reader = threading.Thread(target=_discard, args=(attacker,), daemon=True)
        reader.start()
        try:
            yield attacker
        finally:
            with suppress(OSError):
                attacker.shutdown(socket.SHUT_RDWR)
            reader.join()


def _discard(attacker: socket.socket) -> None:
    with suppress(OSError):
        while attacker.recv(2**16):
            pass


def pairs(first: int, count: int, message: bytes | None) -> bytes:
    numbers = range(2 * first + 1, 2 * (first + count) + 1, 2)
    return b"".join(begun(number, "Evaluate", message) + reset(number) for number in numbers)


def flood(port: int, message: bytes | None = None, count: int = PAIRS) -> bool:
    """Begins calls and leaves them, as fast as the server takes them. Returns whether it took all of them."""
    with connected(port) as attacker:
        try:
            for first in range(0, count, 100):
                attacker.sendall(pairs(first, 100, message))
        except OSError:
            return False
    return True


@pytest.mark.parametrize("message", [None, request().SerializeToString()])
def test_resets_never_cancel_calls_of_others(message):
    with serving() as server, connection(server) as channel, beside(channel) as caller:
        for _ in range(2):
            flood(server.port, message)
    assert set(caller.codes) == {grpc.StatusCode.OK}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_connection_of_a_flood_is_ended(caplog):
    with serving(max_connection_resets=50) as server, connection(server) as channel, beside(channel) as caller:
        assert not flood(server.port, count=5_000_000)  # it is ended long before
        eventually(lambda: warnings(caplog) == ["connection ended, since it left too many calls"])
        assert ended_by(server.registry, "resets") == 1
    assert set(caller.codes) == {grpc.StatusCode.OK}


def test_resets_on_a_shared_connection_never_cancel_calls_of_others():
    """As through a proxy. The connection may be ended: that is UNAVAILABLE, which is tried again."""
    with serving(max_connection_resets=200) as server, connection(server) as channel, beside(channel) as caller:
        while grpc.StatusCode.UNAVAILABLE not in caller.codes:  # on a busy machine few get as far as the server
            leave(channel, 500)
        eventually(lambda: caller.codes[-1] is grpc.StatusCode.OK)
    assert set(caller.codes) == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


def leave(channel: grpc.Channel, count: int) -> None:
    evaluate: Any = channel.unary_unary(PATH)
    data = request().SerializeToString()
    for _ in range(count):
        evaluate.future(data).cancel()


@pytest.mark.parametrize("frame", [PingFrame(0, bytes(8)), SettingsFrame(0)], ids=["ping", "settings"])
def test_flood_of_frames_leaves_others_served(frame):
    frames = 1000 * frame.serialize()
    with serving() as server, connection(server) as channel, beside(channel) as caller:
        _send_all(server.port, [frames] * 100)
    assert set(caller.codes) == {grpc.StatusCode.OK}


def _send_all(port: int, sent: list[bytes]) -> None:
    with connected(port) as attacker, suppress(OSError):  # too many pings end the connection
        for frames in sent:
            attacker.sendall(frames)


@pytest.mark.slow
@pytest.mark.parametrize("connections", [1, 4])
def test_floods_keep_nobody_waiting_for_long(connections):
    frames = [pairs(first, 100, None) for first in range(0, 100_000, 100)]
    with started(COMMAND, stderr=subprocess.PIPE, text=True) as process:
        target = read_event(process, "serving")["target"]
        attack = partial(_send_all, int(target.rpartition(":")[2]), frames)
        threads = [threading.Thread(target=attack) for _ in range(connections)]
        with grpc.insecure_channel(target) as channel, beside(channel) as caller:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert set(caller.codes) == {grpc.StatusCode.OK}
    assert caller.longest < 3.0  # with room for a busy machine, on which attackers and caller share an interpreter
