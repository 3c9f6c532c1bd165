from collections.abc import Iterator

import pytest

from losswire_server import Server
from tests.helpers import serving


@pytest.fixture(scope="module")
def tracing() -> Iterator[Server]:
    with serving(tracing=True, slab_bytes=2**15) as server:
        yield server


@pytest.fixture(scope="module")
def address(tracing: Server) -> str:
    return f"127.0.0.1:{tracing.port}"
