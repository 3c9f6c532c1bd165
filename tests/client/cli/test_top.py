import os
import pty
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from tests.present import present
from tests.processes import started

COMMAND = [sys.executable, "-m", "losswire_client.cli", "top", "--interval", "0.1"]


@pytest.fixture
def serve_text():
    """Serves a text over HTTP."""
    servers = []

    def serve(text, status=200):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/metrics"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_one_interval_is_shown_as_text(losswire, client, metrics_url):
    begun, stop = threading.Event(), threading.Event()

    def evaluate():
        while not stop.is_set():
            client.cross_entropy(np.zeros((4, 3)), [0, 1, 2, 0], series="watched")
            begun.set()

    caller = threading.Thread(target=evaluate)
    caller.start()
    try:
        assert begun.wait(60)
        result = losswire("top", "--once", "--interval", 1, "--metrics-url", metrics_url)
    finally:
        stop.set()
        caller.join()
    assert (result.exit_code, result.stderr) == (0, "")
    for words in ("RPC", "calls/s", "evaluations/s", "stage", "watched cross_entropy 1.09861"):
        assert words in " ".join(result.stdout.split())


def test_address_comes_from_environment(losswire, metrics_url):
    result = losswire("top", "--once", "--interval", 0.1, LOSSWIRE_METRICS_URL=metrics_url)
    assert f"at {metrics_url}" in result.stdout


def test_server_that_is_away_is_unreachable(losswire):
    result = losswire("top", "--once", "--metrics-url", "http://127.0.0.1:1/metrics")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "losswire: cannot read metrics at http://127.0.0.1:1/metrics: Connection refused\n"


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("up 1\n", 200, "what answers is not a Losswire server"),
        ("<html>", 200, ""),
        ("", 404, "Not Found"),
    ],
)
def test_other_servers_are_said_to_be_so(losswire, serve_text, text, status, words):
    url = serve_text(text, status)
    result = losswire("top", "--once", "--metrics-url", url)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"losswire: cannot read metrics at {url}: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["localhost:9464", "pigeon://here", ""])
def test_address_that_is_none_is_refused(losswire, url):
    result = losswire("top", "--once", "--metrics-url", url)
    assert result.exit_code == 2
    assert "'--metrics-url'" in result.stderr
    assert f"expected http://HOST:PORT/metrics, got '{url}'" in result.stderr


def test_pipe_waits_for_an_absent_server():
    command = [*COMMAND, "--metrics-url", "http://127.0.0.1:1/metrics"]
    with started(command, stdout=subprocess.PIPE, text=True) as process:
        said = [present(process.stdout).readline() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert said == ["cannot read metrics at http://127.0.0.1:1/metrics: Connection refused; trying again\n"] * 3


def test_terminal_is_left_as_it_was(metrics_url):
    screen, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    command = [*COMMAND, "--metrics-url", metrics_url]
    with started(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as process:
        os.close(terminal)
        said = b""
        while b"losswire" not in said:
            said += os.read(screen, 4096)
        process.send_signal(signal.SIGINT)
        while b"\x1b[?1049l" not in said:  # until it leaves the alternate screen
            said += os.read(screen, 4096)
        assert process.wait(20) == 130
    os.close(screen)
    assert b"Traceback" not in said
