"""The port of metrics: ``/metrics`` for Prometheus, ``/healthz`` for balancers, ``/`` for people."""

import io
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler

from prometheus_client.exposition import ThreadingWSGIServer

from losswire_server.page.files import File, page_files
from losswire_server.process.listening import Address

REQUEST_SECONDS = 30.0  # that a connection may last: it has one request
MOST_CONNECTIONS = 64  # at a time, each with a thread; others are closed at once
NOT_MODIFIED = "304 Not Modified"
AS_IT_IS = ("X-Content-Type-Options", "nosniff")  # some of what is answered was named by callers
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
    timeout = REQUEST_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Writes nothing."""

    def get_stderr(self) -> io.StringIO:
        """Where the library prints tracebacks of callers that have left. `_application` logs the faults of pages."""
        return io.StringIO()


class _QuietServer(ThreadingWSGIServer):
    """Has a thread for each connection, up to a limit. What callers do wrong is logged at level debug."""

    def __init__(self, family: int, address: tuple[Any, ...]) -> None:
        self.address_family = family
        self._begun: dict[socket.socket, float] = {}  # when each connection came
        super().__init__(address, _QuietHandler)

    def server_bind(self) -> None:
        """Binds without asking DNS for the host's own name, which may be slow and find nothing."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:  # there is no descriptor left; the connection stays, and would be tried again without a pause
            time.sleep(POLL_SECONDS)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - as socketserver calls it
        if len(self._begun) >= MOST_CONNECTIONS:
            return False
        self._begun[request] = time.monotonic()
        return True

    def shutdown_request(self, request: Any) -> None:
        self._begun.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Ends connections that last for too long: a caller that sends a byte now and then is never idle."""
        now = time.monotonic()
        for request, begun in list(self._begun.items()):
            if now - begun > REQUEST_SECONDS:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as socketserver calls it
        is_callers = isinstance(sys.exc_info()[1], OSError | ValueError)
        log.log(logging.DEBUG if is_callers else logging.ERROR, "metrics request failed", exc_info=not is_callers)


def _application(
    metrics: Callable[..., Iterable[bytes]], is_serving: Callable[[], bool]
) -> Callable[..., Iterable[bytes]]:
    def scrape(environ: dict[str, Any]) -> _Answer:
        begun: list[Any] = []
        body = metrics({**environ, "REQUEST_METHOD": "GET"}, lambda status, headers: begun.extend((status, headers)))
        return _Answer(begun[0], begun[1], b"".join(body))

    def health(environ: dict[str, Any]) -> _Answer:  # noqa: ARG001 - as the other pages
        return _text("200 OK", "ok") if is_serving() else _text("503 Service Unavailable", "not serving")

    pages = {"/metrics": scrape, "/healthz": health}
    pages |= {path: partial(_static, file) for path, file in page_files().items()}

    def answer(environ: dict[str, Any]) -> _Answer:
        page = pages.get(environ["PATH_INFO"])
        if page is None:
            return _text("404 Not Found", "not found; /, /metrics and /healthz are here")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            refused = _text("405 Method Not Allowed", "expected GET or HEAD")
            return refused._replace(headers=[*refused.headers, ("Allow", "GET, HEAD")])
        try:
            return page(environ)
        except Exception:
            log.exception("metrics page failed")
            return _text("500 Internal Server Error", "the server's log says more")

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = answer(environ)
        length = [] if status == NOT_MODIFIED else [("Content-Length", str(len(body)))]
        start_response(status, [*headers, *length, AS_IT_IS])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return application


def _static(file: File, environ: dict[str, Any]) -> _Answer:
    if file.etag in environ.get("HTTP_IF_NONE_MATCH", ""):  # also as one of several, or as W/"..." of a proxy
        return _Answer(NOT_MODIFIED, file.headers, b"")
    return _Answer("200 OK", file.headers, file.content)


def _text(status: str, text: str) -> _Answer:
    return _Answer(status, [("Content-Type", "text/plain; charset=utf-8")], f"{text}\n".encode())
