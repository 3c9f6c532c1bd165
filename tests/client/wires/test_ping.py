"""Pings of servers that start, serve and leave."""

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2

from losswire_client import (
    AsyncClient,
    Client,
    NotServedError,
    UnavailableError,
)
from tests.client.many.mapping import BOTH
from tests.client.wires.grpc_servers import NAME, answering
from tests.helpers import eventually


def test_server_without_health_says_so():
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Client(f"127.0.0.1:{port}") as client, pytest.raises(NotServedError):
        client.ping()
    server.stop(None)


@BOTH
def test_ping_waits_for_a_starting_server(kind):
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ping, kind(address, timeout=20))
        with pytest.raises(UnavailableError):
            ping(Client(address, retry=None))
        with answering(address):
            assert waiting.result() > 0


def ping(client: Client | AsyncClient) -> float:
    if isinstance(client, Client):
        with client:
            return client.ping()

    async def awaited() -> float:
        async with client:
            return await client.ping()

    return asyncio.run(awaited())


def test_ping_waits_no_longer_than_its_timeout():
    start = time.monotonic()
    with Client("127.0.0.1:1") as client, pytest.raises(UnavailableError, match=r"at 127\.0\.0\.1:1"):
        client.ping(timeout=0.5)
    assert time.monotonic() - start < 5


def test_ping_of_a_leaving_server_fails():
    with answering() as server, Client(server.target, retry=None) as client:
        assert client.ping() > 0
        server.health.set(NAME, health_pb2.HealthCheckResponse.NOT_SERVING)
        eventually(lambda: not pings(client))


def pings(client: Client) -> bool:
    try:
        return client.ping() > 0
    except UnavailableError:
        return False
