"""What gRPC reads ahead follows the budget."""

import socket
from concurrent.futures import ThreadPoolExecutor

import h2.config
import h2.connection
import h2.events
import pytest
from h2.settings import SettingCodes

from losswire_server import Server
from tests.helpers import serving
from tests.server.calls.raw_streams import connection, stream_call
from tests.server.requests.stream_requests import classes
from tests.server.rpc.receiving.waiting import MIB


def window(server: Server) -> int:
    """What the server lets a caller send of a stream before it reads any of it."""
    caller = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    caller.initiate_connection()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connected:
        connected.sendall(caller.data_to_send())
        while came := connected.recv(2**16):
            for event in caller.receive_data(came):
                if isinstance(event, h2.events.RemoteSettingsChanged):
                    return event.changed_settings[SettingCodes.INITIAL_WINDOW_SIZE].new_value
    raise AssertionError("the server told no settings")


@pytest.mark.parametrize(("budget", "expected"), [(64 * MIB, MIB // 2), (256 * MIB, 2 * MIB), (1024 * MIB, 4 * MIB)])
def test_as_much_is_read_ahead_of_a_stream_as_the_budget_says(budget, expected):
    with serving(max_inflight_bytes=budget, max_message_bytes=4 * MIB) as server:
        assert window(server) == expected


def test_usual_slabs_need_no_turns_where_less_is_read_ahead():
    """Turns are for messages of any size, of which few fit a small budget at a time."""
    batch = classes((16 * 256,), 1024)
    messages = [batch.header(), *batch.slabs(256)]  # slabs of 1 MiB, and 512 KiB are read ahead

    def one(server: Server) -> int:
        with connection(server) as channel:
            return sum(1 for _ in stream_call(channel)(iter(messages), timeout=20))

    with serving(max_inflight_bytes=64 * MIB, max_message_bytes=16 * MIB) as server, ThreadPoolExecutor(8) as threads:
        assert min(threads.map(one, [server] * 8)) > 0
