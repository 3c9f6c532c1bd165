"""A port of metrics that shows what a test wants."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from losswire_server.metrics.http_server import MetricsServer
from losswire_server.process.listening import Address


class MadeUp:
    """What is shown.

    Attributes:
        text: Gives the metrics at each scrape.
        serving: What ``/healthz`` says.
    """

    def __init__(self, text: Callable[[], str]) -> None:
        self.text = text
        self.serving = True

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:  # noqa: ARG002
        start_response("200 OK", [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")])
        return [self.text().encode()]


@contextmanager
def shown(text: Callable[[], str], port: int = 0) -> Iterator[tuple[str, MadeUp]]:
    """The address of the page, and what can be changed."""
    made = MadeUp(text)
    server = MetricsServer(Address("127.0.0.1", port, "", ""), made, lambda: made.serving)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}/", made
    finally:
        server.close()
