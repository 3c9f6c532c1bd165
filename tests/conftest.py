import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry

from losswire_client import Client
from losswire_server import Server, Settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LOSSWIRE_")]:
        monkeypatch.delenv(name)


@contextmanager
def serving(**settings: object) -> Iterator[Server]:
    """A server on free ports, in a thread of this process, so that tests can look into it."""
    started: Future[tuple[Server, Callable[[], None]]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(Settings(port=0, metrics_port=0, **settings), started)))
    thread.start()
    server, stop = started.result(30)
    try:
        yield server
    finally:
        stop()
        thread.join()


async def _serve(settings: Settings, started: "Future[tuple[Server, Callable[[], None]]]") -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    try:
        server = Server(settings, CollectorRegistry())
        await server.start()
    except BaseException as error:
        started.set_exception(error)
        raise
    started.set_result((server, lambda: loop.call_soon_threadsafe(stopped.set)))
    await stopped.wait()
    await server.stop()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def target(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.fixture(scope="session")
def client(target: str) -> Iterator[Client]:
    with Client(target, timeout=20) as connected:
        yield connected
