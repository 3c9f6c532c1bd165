"""What gRPC reads ahead of a stream follows the budget. What has come is what the kernel says."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from losswire_server import Server
from tests.helpers import eventually, serving
from tests.server.calls.raw_streams import RawStream, connection, stream_call
from tests.server.requests.stream_requests import GRADIENT, classes
from tests.server.rpc.waiting import MIB

ROWS = 16  # of each slab, of 64 KiB
MORE_OR_LESS = 2**17  # a slab that is being read, some frames of HTTP/2, and what surrounds messages
RESTS_SECONDS = 0.5


def ahead(server: Server) -> int:
    """What has come of messages that nobody has read, of all callers."""
    return sum(server._waits._ahead(caller) for caller in server._waits.connections)


def wait_until_nothing_comes(server: Server) -> None:
    seen, since = -1, time.monotonic()

    def nothing_comes() -> bool:
        nonlocal seen, since
        if ahead(server) != seen:
            seen, since = ahead(server), time.monotonic()
        return time.monotonic() - since > RESTS_SECONDS

    eventually(nothing_comes)


@pytest.mark.parametrize("budget", [32 * MIB, 64 * MIB, 256 * MIB, 1024 * MIB])
def test_as_much_is_read_ahead_of_a_stream_as_the_budget_says(budget):
    settings = {"max_inflight_bytes": budget, "max_message_bytes": 4 * MIB}
    batch = classes((1000 * ROWS,), 1024, outputs=GRADIENT)
    with serving(**settings) as server, connection(server) as channel:
        stream = RawStream(channel).send(batch.header(), *batch.slabs(ROWS)).end()  # and reads no results
        wait_until_nothing_comes(server)
        assert ahead(server) == pytest.approx(server._settings.lookahead_bytes, abs=MORE_OR_LESS)
        stream.call.cancel()


def test_usual_slabs_need_no_turns_where_less_is_read_ahead():
    """Turns are for messages of any size, of which few fit a small budget at a time."""
    batch = classes((16 * 256,), 1024)
    messages = [batch.header(), *batch.slabs(256)]  # slabs of 1 MiB, and 512 KiB are read ahead

    def one(server: Server) -> int:
        with connection(server) as channel:
            return sum(1 for _ in stream_call(channel)(iter(messages), timeout=20))

    with serving(max_inflight_bytes=64 * MIB, max_message_bytes=16 * MIB) as server, ThreadPoolExecutor(8) as threads:
        assert min(threads.map(one, [server] * 8)) > 0
