import re
from collections.abc import Callable, Iterator

import pytest

from losswire_client import Client
from tests.client.runs.relay import Relay, relaying
from tests.helpers import serving


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that keeps runs."""
    with serving(runs=str(tmp_path_factory.mktemp("runs") / "runs.db"), slab_bytes=2**14) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture(scope="module")
def connect(keeping: str) -> Callable[..., Client]:
    """Makes clients of that server."""
    return lambda **options: Client(keeping, timeout=20, **options)


@pytest.fixture(scope="module")
def keeper(connect: Callable[..., Client]) -> Iterator[Client]:
    """A client of that server."""
    with connect() as client:
        yield client


@pytest.fixture
def relay(keeping: str) -> Iterator[Relay]:
    """What stands before that server, to see and refuse calls."""
    with relaying(keeping) as between:
        yield between


@pytest.fixture
def through(relay: Relay) -> Callable[..., Client]:
    """Makes clients whose calls go through the relay."""
    return lambda **options: Client(relay.target, timeout=20, **options)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """The name of a run that no other test has."""
    return re.sub(r"[^\w.:/-]+", "-", request.node.nodeid, flags=re.ASCII)[-200:]
