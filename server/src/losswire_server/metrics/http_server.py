"""The port of metrics: ``/metrics`` for Prometheus, ``/healthz`` for balancers, ``/`` for people."""

import logging
import socketserver
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client.exposition import ThreadingWSGIServer

from losswire_server.process.listening import Address

START_PAGE = b"""<!DOCTYPE html>
<html lang="en"><title>Losswire</title>
<h1>Losswire</h1>
<ul><li><a href="/metrics">Metrics</a></li><li><a href="/healthz">Health</a></li></ul>
</html>
"""
IDLE_SECONDS = 30  # that a connection may be silent
POLL_SECONDS = 0.1  # until the server notices that it should stop

log = logging.getLogger(__name__)


class _Answer(NamedTuple):
    status: str
    headers: list[tuple[str, str]]
    body: bytes


class MetricsServer:
    """Answers GET and HEAD in threads of its own. It is bound when made, and answers once started.

    Args:
        address: Where to listen.
        metrics: The WSGI application that answers ``/metrics``.
        is_serving: Whether ``/healthz`` answers 200; else it answers 503.

    Raises:
        AddressError: This machine or this user cannot listen there.
        OSError: The port is taken.
    """

    def __init__(
        self, address: Address, metrics: Callable[..., Iterable[bytes]], is_serving: Callable[[], bool]
    ) -> None:
        family, bound = address.resolve()[0]
        with address.explained():
            self._server = _QuietServer(family, bound)
        self._server.set_app(_application(metrics, is_serving))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="losswire-metrics", daemon=True
        )

    @property
    def port(self) -> int:
        return self._server.server_port

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Frees the port, whether or not the server was started."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _QuietHandler(WSGIRequestHandler):
    timeout = IDLE_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Writes nothing."""


class _QuietServer(ThreadingWSGIServer):
    """Has one thread for each connection. A broken connection is logged at level debug, without a traceback."""

    def __init__(self, family: int, address: tuple[Any, ...]) -> None:
        self.address_family = family
        super().__init__(address, _QuietHandler)

    def server_bind(self) -> None:
        """Binds without asking DNS for the host's own name, which may be slow and find nothing."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as socketserver calls it
        level = logging.DEBUG if isinstance(sys.exc_info()[1], OSError) else logging.ERROR
        log.log(level, "metrics request failed", exc_info=level == logging.ERROR)


def _application(
    metrics: Callable[..., Iterable[bytes]], is_serving: Callable[[], bool]
) -> Callable[..., Iterable[bytes]]:
    def scrape(environ: dict[str, Any]) -> _Answer:
        begun: list[Any] = []
        body = metrics({**environ, "REQUEST_METHOD": "GET"}, lambda status, headers: begun.extend((status, headers)))
        return _Answer(begun[0], begun[1], b"".join(body))

    def health(environ: dict[str, Any]) -> _Answer:  # noqa: ARG001 - as the other pages
        return _text("200 OK", "ok") if is_serving() else _text("503 Service Unavailable", "not serving")

    def start_page(environ: dict[str, Any]) -> _Answer:  # noqa: ARG001
        return _Answer("200 OK", [("Content-Type", "text/html; charset=utf-8")], START_PAGE)

    pages = {"/": start_page, "/metrics": scrape, "/healthz": health}

    def answer(environ: dict[str, Any]) -> _Answer:
        page = pages.get(environ["PATH_INFO"])
        if page is None:
            return _text("404 Not Found", "not found; /metrics and /healthz are here")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            refused = _text("405 Method Not Allowed", "expected GET or HEAD")
            return refused._replace(headers=[*refused.headers, ("Allow", "GET, HEAD")])
        return page(environ)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = answer(environ)
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return application


def _text(status: str, text: str) -> _Answer:
    return _Answer(status, [("Content-Type", "text/plain; charset=utf-8")], f"{text}\n".encode())
