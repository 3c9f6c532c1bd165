"""How a client finds its servers, and what it tells them of itself."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import trustme
from grpc_health.v1 import health_pb2

from losswire_client import (
    TLS,
    AsyncClient,
    Client,
    InvalidArgumentError,
    NotServedError,
    UnauthenticatedError,
    UnavailableError,
)
from losswire_client._wires import files
from losswire_client._wires.endpoint import Endpoint
from tests.client.many.mapping import BOTH
from tests.client.wires.grpc_servers import NAME, answering
from tests.helpers import eventually, serving
from tests.present import present

LOGITS, TARGET = np.array([[0.5, 1.5, -1.0]], np.float32), [1]
LARGE = np.zeros((300, 1000), np.float32), np.zeros(300, np.int64)


# Several servers.


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
        with pytest.raises(InvalidArgumentError, match="transport: expected another one for several targets"):
            Client(targets, transport="shared_memory")


def test_name_that_nobody_knows_is_told():
    with pytest.raises(
        InvalidArgumentError, match=r"target: expected hosts that are known, got 'no\.such\.host\.invalid'"
    ):
        Client(["no.such.host.invalid:50051", "127.0.0.1:50051"], retry=None).ping()


def test_dns_target_is_looked_up():
    with answering() as server, Client(f"dns:///localhost:{server.target.rpartition(':')[2]}") as client:
        assert client.cross_entropy(LOGITS, TARGET).row_count == 1


# Unix sockets and proxies.


def test_unix_socket_is_a_target(tmp_path):
    with answering(f"unix:{tmp_path}/losswire.sock") as server, Client(server.target, token="secret") as client:
        assert client.cross_entropy(LOGITS, TARGET).row_count == 1
        assert client.ping() > 0


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy of HTTP's CONNECT, and where it was asked to go; wherever that is, it goes to this machine."""
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


# TLS.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def write(folder: Path, authority: trustme.CA, *names: str) -> TLS:
    """The files of a caller or a server."""
    issued = authority.issue_cert(*names)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    return TLS(ca=folder / "ca.pem", cert=folder / "cert.pem", key=folder / "key.pem")


def server_credentials(authority: trustme.CA, *names: str, asks: bool = False) -> grpc.ServerCredentials:
    issued = authority.issue_cert(*names)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    trusted = authority.cert_pem.bytes() if asks else None
    return grpc.ssl_server_credentials([(issued.private_key_pem.bytes(), chain)], trusted, asks)


def test_server_is_known_by_its_certificate(authority, tmp_path):
    tls = write(tmp_path, authority, "caller")
    with answering("localhost:0", server_credentials(authority, "localhost")) as server:
        with Client(server.target, tls=TLS(ca=tls.ca)) as client:
            assert client.cross_entropy(LOGITS, TARGET).row_count == 1
            assert client.cross_entropy(*LARGE, grad=True).row_count == 300
        for stranger in (True, TLS(ca=write(tmp_path, trustme.CA(), "caller").ca), False):
            with Client(server.target, tls=stranger, retry=None) as client, pytest.raises(UnavailableError):
                client.cross_entropy(LOGITS, TARGET)


def test_certificate_name_may_differ(authority, tmp_path):
    tls = write(tmp_path, authority, "caller")
    with answering("127.0.0.1:0", server_credentials(authority, "losses.example")) as server:
        with Client(server.target, tls=TLS(ca=tls.ca, server_name="losses.example")) as client:
            assert client.cross_entropy(LOGITS, TARGET).row_count == 1
        with Client(server.target, tls=TLS(ca=tls.ca), retry=None) as client, pytest.raises(UnavailableError):
            client.ping()


def test_several_targets_have_the_first_name(authority, tmp_path):
    tls, credentials = write(tmp_path, authority, "caller"), server_credentials(authority, "localhost")
    with (
        answering("localhost:0", credentials) as one,
        answering("localhost:0", credentials) as other,
        Client([one.target, other.target], tls=TLS(ca=tls.ca)) as client,
    ):
        eventually(lambda: all([client.cross_entropy(LOGITS, TARGET).row_count, one.methods, other.methods]))


def test_caller_is_known_by_its_certificate(authority, tmp_path):
    tls = write(tmp_path, authority, "caller")
    with answering("localhost:0", server_credentials(authority, "localhost", asks=True)) as server:
        with Client(server.target, tls=tls) as client:
            assert client.cross_entropy(LOGITS, TARGET).row_count == 1
        with Client(server.target, tls=TLS(ca=tls.ca), retry=None) as client, pytest.raises(UnavailableError):
            client.ping()


def test_replaced_certificates_are_taken(authority, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHECK_SECONDS", 0)
    tls = write(tmp_path, trustme.CA(), "caller")  # whom this server does not trust, nor it the server
    with (
        answering("localhost:0", server_credentials(authority, "localhost", asks=True)) as server,
        Client(server.target, tls=tls, retry=None) as client,
    ):
        with pytest.raises(UnavailableError):
            client.ping()
        write(tmp_path, authority, "caller")
        eventually(lambda: answers(client))
        (tmp_path / "key.pem").unlink()  # between two versions
        assert answers(client)
        write(tmp_path, trustme.CA(), "caller")
        eventually(lambda: not answers(client))


def answers(client: Client) -> bool:
    try:
        return client.cross_entropy(LOGITS, TARGET).row_count == 1
    except UnavailableError:
        return False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tls": TLS(ca="no/such.pem")},
            r"tls\.ca: expected a file that can be read, got 'no/such\.pem': .*No such file",
        ),
        ({"tls": "yes"}, "tls: expected"),
        ({"token": Path("no/such")}, "token: expected a file that can be read, got 'no/such'"),
        ({"token": "a b"}, "token: expected printable characters"),
        ({"token": ""}, "token: expected printable characters"),
        ({"token": "secret", "target": "losses.example:1"}, "token: expected tls beside it"),
    ],
)
def test_wrong_credentials_are_named(options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Client(**{"target": "localhost:1", **options})


def test_certificate_needs_its_key():
    with pytest.raises(InvalidArgumentError, match=r"tls\.key: expected a file beside tls\.cert, got None"):
        TLS(cert="cert.pem")


# Tokens.


def test_token_goes_with_every_call(authority, tmp_path):
    tls = TLS(ca=write(tmp_path, authority, "caller").ca)
    with answering("localhost:0", server_credentials(authority, "localhost")) as server:
        with Client(server.target, tls=tls, token="secret", transport="stream") as client:
            client.cross_entropy(LOGITS, TARGET)
        with Client(server.target, tls=tls, token="secret") as client:
            client.cross_entropy(LOGITS, TARGET)
        assert server.methods == ["GetCapabilities", "EvaluateStream", "Evaluate"]
        assert server.tokens == ["Bearer secret"] * 3


def test_replaced_token_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHECK_SECONDS", 0)
    file = tmp_path / "token"
    file.write_text("first\n")
    with answering() as server, Client(server.target, token=file) as client:
        for text in ("first\n", "second\n", ""):
            file.write_text(text)
            os.utime(file, ns=(len(server.tokens), len(server.tokens)))  # which a quick test might not change
            client.cross_entropy(LOGITS, TARGET)
    assert server.tokens == ["Bearer first", "Bearer second", "Bearer second"]


def test_refused_token_is_an_error_of_its_own():
    with answering() as server, Client(server.target, token="wrong") as client:
        server.refusals.append((grpc.StatusCode.UNAUTHENTICATED, "who is that?", ()))
        with pytest.raises(UnauthenticatedError, match="who is that"):
            client.cross_entropy(LOGITS, TARGET)


# What a server does not have.


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


def test_channel_options_are_set():
    options = dict(Endpoint("localhost:1", None, None)._options())
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert options["grpc.max_receive_message_length"] == 2**31 - 1
