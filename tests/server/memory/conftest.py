"""A server with no other callers, and regions by themselves."""

import pytest

from losswire_server.memory.regions import Regions
from tests.helpers import serving
from tests.server.memory.shared_memory import connected


@pytest.fixture(scope="module")
def server():
    """A server with no other callers, so that only these tests have leases."""
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def stub(server):
    with connected(f"127.0.0.1:{server.port}") as stub:
        yield stub


@pytest.fixture
def regions():
    regions = Regions(2**20)
    yield regions
    regions.close()
