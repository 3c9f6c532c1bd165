import socket
from collections.abc import Iterator

import pytest

from losswire_client import Client
from losswire_server import Server
from tests.client.transports.residents import MIB, connected
from tests.helpers import serving


@pytest.fixture
def silent_target() -> Iterator[str]:
    """The address of a server that accepts connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def shared(target: str) -> Iterator[Client]:
    """A client whose batches all go by shared memory."""
    with Client(target, timeout=20, transport="shared_memory") as connection:
        yield connection


@pytest.fixture
def alone() -> Iterator[tuple[Server, Client]]:
    """A server with no other callers, and its client."""
    with serving(shared_memory_bytes=8 * MIB, caller_share=1) as server, connected(server) as client:
        yield server, client
