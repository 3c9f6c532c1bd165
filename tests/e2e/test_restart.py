"""A server that restarts under load costs its callers time, and nothing else."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from losswire_client import Client
from losswire_server import RunningServer, launch
from tests.helpers import eventually
from tests.present import present

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
SMALL = RNG.standard_normal((32, 10), np.float32), RNG.integers(0, 10, 32)
LARGE = RNG.standard_normal((256, 8000), np.float32), RNG.integers(0, 8000, 256)
CALLERS = {"auto": SMALL, "unary": LARGE, "stream": LARGE, "shared_memory": LARGE}  # by transport


class Caller(threading.Thread):
    """Evaluates the same batch again and again, and compares the results with the first one."""

    def __init__(self, target: str, transport: str, stop: threading.Event) -> None:
        super().__init__(name=transport)
        self.count = 0
        self.error: BaseException | None = None
        self._client = Client(target, transport=transport)
        self._batch = CALLERS[transport]
        self._stop_event = stop

    def run(self) -> None:
        try:
            with self._client as client:
                expected = client.cross_entropy(*self._batch, grad=True)
                while not self._stop_event.is_set():
                    result = client.cross_entropy(*self._batch, grad=True)
                    assert result.loss == expected.loss
                    assert np.array_equal(present(result.grad), present(expected.grad))
                    self.count += 1
        except Exception as error:  # noqa: BLE001 - the test reports it
            self.error = error


@contextmanager
def calling(target: str) -> Iterator[list[Caller]]:
    stop = threading.Event()
    callers = [Caller(target, transport, stop) for transport in CALLERS]
    for caller in callers:
        caller.start()
    try:
        yield callers
    finally:
        stop.set()
        for caller in callers:
            caller.join()


def all_go_on(callers: list[Caller]) -> bool:
    before = [caller.count for caller in callers]
    eventually(lambda: all(caller.error or caller.count > n + 3 for caller, n in zip(callers, before, strict=True)), 40)
    return not any(caller.error for caller in callers)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_restart_under_load_costs_no_error(how):
    with ExitStack() as servers:
        first = servers.enter_context(launch(port=free_port()))
        with calling(first.target) as callers:
            assert all_go_on(callers), [caller.error for caller in callers]
            os.kill(first.pid, how)
            servers.enter_context(relaunched(first))
            assert all_go_on(callers), [caller.error for caller in callers]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def relaunched(first: RunningServer) -> Iterator[None]:
    """A server at the address of the first one, as soon as that is gone."""
    port = int(first.target.rpartition(":")[2])
    eventually(lambda: is_free(port))
    with launch(port=port):
        yield


def is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
