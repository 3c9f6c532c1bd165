"""Clients close in seconds with all kinds of calls under way, whatever the state of their server."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from losswire_client import AsyncClient, Client, LosswireError, Result
from losswire_server import RunningServer, launch

SHAPE = (256, 4000)
SMALL, LARGE = ([1.0, 2.0], 0), (np.zeros(SHAPE, np.float32), np.zeros(SHAPE[0], np.int64))
CLIENTS: list[tuple[dict[str, Any], tuple[Any, Any]]] = [  # settings, and a batch that makes the client use them
    ({"transport": "unary"}, LARGE),
    ({"transport": "stream"}, LARGE),
    ({"transport": "shared_memory"}, LARGE),
    ({"coalesce": True}, SMALL),
]
AMID = 0.3  # seconds after which some calls are under way, and others wait to be tried again


@pytest.fixture(scope="module")
def server():
    with launch(stop_seconds=0.5) as running:
        yield running


@contextmanager
def stopped(server: RunningServer) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    yield
    os.kill(server.pid, signal.SIGCONT)


@pytest.mark.slow
def test_client_closes_in_seconds(server):
    clients = [Client(server.target, timeout=60, **settings) for settings, _ in CLIENTS]
    places = [client.empty(SHAPE) for client in clients]
    for client, (_, batch) in zip(clients, CLIENTS, strict=True):
        client.cross_entropy(*batch)
    with stopped(server), ThreadPoolExecutor(64) as threads:
        calls: list[Future[object]] = []
        for client, (_, batch) in zip(clients, CLIENTS, strict=True):
            calls += [threads.submit(client.cross_entropy, *batch) for _ in range(4)]
            calls.append(threads.submit(map_nine, client, batch))
        time.sleep(AMID)
        close_all(clients)
        for call in calls:
            with pytest.raises(LosswireError):
                call.result(15)
    assert {place.shape for place in places} == {SHAPE}


def map_nine(client: Client, batch: tuple[Any, Any]) -> list[Result]:
    return list(client.map([batch] * 9, window=4))


def close_all(clients: list[Client]) -> None:
    for client in clients:
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 15


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGSTOP, signal.SIGKILL], ids=lambda end: end.name)
def test_async_client_closes_in_seconds(server, end):
    async def close_amid_calls():
        clients = [AsyncClient(server.target, timeout=60, **settings) for settings, _ in CLIENTS]
        places = [await client.empty(SHAPE) for client in clients]
        for client, (_, batch) in zip(clients, CLIENTS, strict=True):
            await client.cross_entropy(*batch)
        os.kill(server.pid, end)
        calls = [
            asyncio.create_task(client.cross_entropy(*batch))
            for client, (_, batch) in zip(clients, CLIENTS, strict=True)
            for _ in range(4)
        ]
        await asyncio.sleep(AMID)
        for client in clients:
            await asyncio.wait_for(client.close(), 15)
        return places, await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 15)

    places, outcomes = asyncio.run(close_amid_calls())
    os.kill(server.pid, signal.SIGCONT)
    assert all(isinstance(each, LosswireError) for each in outcomes)
    assert {place.shape for place in places} == {SHAPE}


@pytest.mark.slow
def test_client_of_a_dead_server_closes(server):  # which the test before has killed
    clients = [Client(server.target, timeout=60, **settings) for settings, _ in CLIENTS]
    with ThreadPoolExecutor(64) as threads:
        batches = [batch for _, batch in CLIENTS]
        calls = [threads.submit(client.cross_entropy, *batch) for client, batch in zip(clients, batches, strict=True)]
        time.sleep(AMID)
        close_all(clients)
        for call in calls:
            with pytest.raises(LosswireError):
                call.result(15)
