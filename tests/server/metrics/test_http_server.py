import http.client
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, Counter, make_wsgi_app

from losswire_server.metrics import http_server
from losswire_server.metrics.http_server import MetricsServer
from losswire_server.process.listening import Address
from tests.helpers import eventually


class State:
    serving = True


@pytest.fixture
def state():
    return State()


@pytest.fixture
def port(state):
    registry = CollectorRegistry()
    Counter("rows", "Rows.", registry=registry)
    server = MetricsServer(Address("127.0.0.1", 0, "", ""), make_wsgi_app(registry), lambda: state.serving)
    server.start()
    yield server.port
    server.close()


def ask(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_start_page_links_the_metrics(port):
    status, headers, body = ask(port, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b'<a href="metrics">' in body


def test_metrics_are_those_of_prometheus(port):
    status, headers, body = ask(port, "/metrics")
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/plain")
    assert b"rows_total 0.0" in body
    _, headers, _ = ask(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert b"rows_total" not in ask(port, "/metrics?name[]=none")[2]


def test_health_follows_the_server(port, state):
    assert (ask(port, "/healthz")[0], ask(port, "/healthz")[2]) == (200, b"ok\n")
    state.serving = False
    assert ask(port, "/healthz")[0] == 503


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/nowhere"])
def test_head_is_get_without_a_body(port, path):
    status, _, body = ask(port, path)
    head_status, head_headers, head_body = ask(port, path, "HEAD")
    assert (head_status, head_headers["Content-Length"], head_body) == (status, str(len(body)), b"")


@pytest.mark.parametrize("path", ["/nowhere", "/metrics/", "/healthz/x", "/favicon.ico", "/%0d%0aX-Header:1"])
def test_other_pages_are_not_found(port, path):
    status, headers, _ = ask(port, path)
    assert status == 404
    assert "X-Header" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(port, method):
    status, headers, _ = ask(port, "/metrics", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "sent", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 300]
)
def test_connection_that_is_reset_is_no_news(port, sent, capfd):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(sent)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(port, "/healthz")[0] == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01" + bytes(300) + b"\r\n\r\n",
        b"GET /metrics?name[]=\xff%00\x1b HTTP/1.1\r\nContent-Length: x\r\nContent-Type: \xff;;\r\n\r\n",
    ],
)
def test_wrong_request_is_no_news(port, sent, capfd, caplog):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(sent)
            connection.recv(100)
    assert capfd.readouterr().err == ""
    assert caplog.records == []


def test_fault_of_a_page_is_logged_once(state, caplog, capfd):
    def fail(*_):
        raise RuntimeError("broken")

    server = MetricsServer(Address("127.0.0.1", 0, "", ""), fail, lambda: state.serving)
    server.start()
    assert ask(server.port, "/metrics")[0] == 500
    server.close()
    assert [record.getMessage() for record in caplog.records] == ["metrics page failed"]
    assert capfd.readouterr().err == ""


def test_connections_are_bounded(port, monkeypatch):
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 3)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    eventually(lambda: is_refused(port))
    for connection in silent:
        connection.close()
    eventually(lambda: not is_refused(port))


def is_refused(port) -> bool:
    try:
        ask(port, "/healthz")
    except (ConnectionError, http.client.HTTPException):
        return True
    return False


def test_slow_request_is_ended(port, monkeypatch):
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /")
        connection.settimeout(20)
        assert connection.recv(100) == b""


def test_many_ask_at_once(port):
    with ThreadPoolExecutor(8) as threads:
        assert {answer[0] for answer in threads.map(lambda _: ask(port, "/metrics"), range(32))} == {200}


def test_port_is_given_back(state):
    server = MetricsServer(Address("127.0.0.1", 0, "", ""), make_wsgi_app(CollectorRegistry()), lambda: state.serving)
    port = server.port
    server.close()  # without a start
    MetricsServer(Address("127.0.0.1", port, "", ""), make_wsgi_app(CollectorRegistry()), lambda: state.serving).close()
