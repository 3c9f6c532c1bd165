"""How a client finds its servers, and what metadata it sends them."""

import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from losswire_client import (
    Client,
    InvalidArgumentError,
)
from losswire_client._wires.endpoint import Endpoint
from tests.client.wires.grpc_servers import NAME, answering
from tests.helpers import eventually, serving
from tests.present import present

LOGITS, TARGET = np.array([[0.5, 1.5, -1.0]], np.float32), [1]
LARGE = np.zeros((300, 1000), np.float32), np.zeros(300, np.int64)


def test_calls_are_spread_over_all_targets():
    with answering() as one, answering() as other, Client([one.target, other.target]) as client:
        eventually(lambda: all([client.cross_entropy(LOGITS, TARGET).row_count, one.methods, other.methods]))
        before = len(one.methods), len(other.methods)
        for _ in range(20):
            client.cross_entropy(LOGITS, TARGET)
        assert len(one.methods) - before[0] == len(other.methods) - before[1] == 10


def test_targets_may_have_commas_and_names():
    with answering() as one, answering() as other:
        names = ",".join(server.target.replace("127.0.0.1", "localhost") for server in (one, other))
        with Client(names) as client:
            eventually(lambda: all([client.cross_entropy(LOGITS, TARGET).row_count, one.methods, other.methods]))


def test_unwell_server_gets_no_more_calls():
    with answering() as one, answering() as other, Client([one.target, other.target]) as client:
        eventually(lambda: all([client.cross_entropy(LOGITS, TARGET).row_count, one.methods, other.methods]))
        one.health.set(NAME, health_pb2.HealthCheckResponse.NOT_SERVING)
        eventually(lambda: takes_all(client, other))
        one.health.set(NAME, health_pb2.HealthCheckResponse.SERVING)
        eventually(lambda: not takes_all(client, other))


def takes_all(client: Client, server) -> bool:
    before = len(server.methods)
    for _ in range(6):
        client.cross_entropy(LOGITS, TARGET)
    return len(server.methods) - before == 6


def test_server_that_is_gone_is_left_out():
    with answering() as one, Client([one.target, "127.0.0.1:1"]) as client:
        for _ in range(10):
            assert client.cross_entropy(LOGITS, TARGET).row_count == 1


def test_several_targets_share_no_memory():
    with serving() as one, serving() as other:
        targets = [f"127.0.0.1:{server.port}" for server in (one, other)]
        with Client(targets) as client:
            for _ in range(4):
                result = client.cross_entropy(*LARGE, grad=True)
                assert not client._session.shared.holds(present(result.grad))
        with pytest.raises(InvalidArgumentError, match="transport: expected another transport for several targets"):
            Client(targets, transport="shared_memory")


def test_name_that_nobody_knows_is_told():
    with pytest.raises(
        InvalidArgumentError, match=r"target: expected hosts whose names can be resolved, got 'no\.such\.host\.invalid'"
    ):
        Client(["no.such.host.invalid:50051", "127.0.0.1:50051"], retry=None).ping()


def test_dns_target_is_looked_up():
    with answering() as server, Client(f"dns:///localhost:{server.target.rpartition(':')[2]}") as client:
        assert client.cross_entropy(LOGITS, TARGET).row_count == 1


def test_unix_socket_is_a_target(tmp_path):
    with answering(f"unix:{tmp_path}/losswire.sock") as server, Client(server.target, token="secret") as client:
        assert client.cross_entropy(LOGITS, TARGET).row_count == 1
        assert client.ping() > 0


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy for HTTP's CONNECT, and the addresses that it was asked for. It always connects to this machine."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener, asked), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked


def accept(listener: socket.socket, asked: list[str]) -> None:
    while True:
        try:
            caller, _ = listener.accept()
        except OSError:
            return
        asked.append(caller.recv(4096).decode().split()[1])
        server = socket.create_connection(("127.0.0.1", int(asked[-1].rpartition(":")[2])))
        caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for source, sink in ((caller, server), (server, caller)):
            threading.Thread(target=pump, args=(source, sink), daemon=True).start()


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        sink.close()


def test_proxy_is_not_taken_to_this_machine(proxy, monkeypatch):
    url, asked = proxy
    monkeypatch.setenv("http_proxy", url)
    with answering() as server:
        port = server.target.rpartition(":")[2]
        with Client(f"losses.example:{port}") as client:
            assert client.cross_entropy(LOGITS, TARGET).row_count == 1
        assert asked == [f"losses.example:{port}"]
        with Client(f"localhost:{port}") as client:
            assert client.cross_entropy(LOGITS, TARGET).row_count == 1
        assert len(asked) == 1


def test_channel_options_are_set():
    options = dict(Endpoint("localhost:1", None, None)._options())
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert options["grpc.max_receive_message_length"] == 2**31 - 1
