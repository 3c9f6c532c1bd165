import http.client
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, Counter, make_wsgi_app

from losswire_server.metrics.http_server import MetricsServer
from losswire_server.process.listening import Address


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
    assert b'<a href="/metrics">' in body


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


def test_many_ask_at_once(port):
    with ThreadPoolExecutor(8) as threads:
        assert {answer[0] for answer in threads.map(lambda _: ask(port, "/metrics"), range(32))} == {200}


def test_port_is_given_back(state):
    server = MetricsServer(Address("127.0.0.1", 0, "", ""), make_wsgi_app(CollectorRegistry()), lambda: state.serving)
    port = server.port
    server.close()  # without a start
    MetricsServer(Address("127.0.0.1", port, "", ""), make_wsgi_app(CollectorRegistry()), lambda: state.serving).close()
