import logging
from collections.abc import Iterator

import grpc
import pytest

from losswire_server import Server
from tests.helpers import eventually, serving
from tests.server.calls.raw_streams import RawStream, connection
from tests.server.requests.stream_requests import GRADIENT, classes


@pytest.fixture(scope="module")
def streaming() -> Iterator[Server]:
    with serving(slab_bytes=4096) as running:
        yield running


@pytest.fixture(scope="module")
def slab_channel(streaming: Server) -> Iterator[grpc.Channel]:
    with connection(streaming) as connected:
        yield connected


@pytest.fixture
def neighbour(streaming: Server, slab_channel: grpc.Channel) -> Iterator[None]:
    """A stream on the same connection. It is open while another stream fails, and then ends with the right results."""
    batch = classes(outputs=GRADIENT)
    stream = RawStream(slab_channel).send(batch.header(), batch.slab(0, 20))
    results = [stream.read()]
    yield
    results += [stream.send(slab).read() for slab in (batch.slab(20, 30), batch.slab(50, 10))]
    batch.check(slab_channel, [*results, stream.end().read()])
    eventually(lambda: streaming.registry.get_sample_value("losswire_inflight_bytes") == 0)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Restores logging after tests that call `main` in this process, since the stream of its handler is closed."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
