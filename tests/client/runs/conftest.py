from collections.abc import Callable, Iterator

import pytest

from losswire_client import Client
from tests.client.runs.fake_service import FakeService, serving_runs


@pytest.fixture(scope="module")
def service() -> Iterator[FakeService]:
    with serving_runs() as running:
        yield running


@pytest.fixture(scope="module")
def connect(service: FakeService) -> Callable[..., Client]:
    """Makes clients of a server that keeps runs."""
    return lambda **options: Client(service.target, timeout=20, **options)


@pytest.fixture(scope="module")
def keeper(connect: Callable[..., Client]) -> Iterator[Client]:
    """A client of a server that keeps runs."""
    with connect() as client:
        yield client


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """The name of a run that no other test has."""
    return f"{request.node.nodeid}".translate(str.maketrans("[]+ ", "----"))[-200:].lstrip("-")
