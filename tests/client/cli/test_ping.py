import json
import socket
import time

import pytest
import trustme

from losswire_client import __version__
from tests.client.wires.certificates import server_credentials, write
from tests.client.wires.grpc_servers import answering


def test_line_tells_who_answers_and_how_fast(losswire, target):
    result = losswire("ping", "--count", 3)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{target}: losswire {__version__} on cpu")
    assert result.stdout.endswith("(median of 3)\n")
    assert result.stdout.count("\n") == 1


def test_json_tells_what_the_server_serves(losswire, target, client):
    result = json.loads(losswire("ping", "--json").stdout)
    assert (result["target"], result["count"]) == (target, 5)
    assert 0 < result["round_trip_seconds"] < 5
    assert result["losses"] == list(client.capabilities().losses)


def test_option_goes_before_the_variable(losswire, target):
    assert losswire("ping", "--target", target, LOSSWIRE_TARGET="localhost:1").exit_code == 0


def test_absent_server_is_unreachable(losswire):
    result = losswire("ping", "--target", "localhost:1")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("losswire: no server can be reached at localhost:1: ")
    assert result.stderr.count("\n") == 1


def test_silent_server_is_unreachable(losswire):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        result = losswire("ping", "--target", f"127.0.0.1:{silent.getsockname()[1]}", "--timeout", 0.3)
        assert time.monotonic() - start < 10
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1


def test_timeout_that_is_none_is_refused(losswire):
    result = losswire("ping", "--timeout", 0)
    assert result.exit_code == 2
    assert "timeout: expected a number of seconds" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "losses.example:1", "--token", "t"], "token: expected tls too"),
        (["--ca", "no/such.pem"], "tls.ca: expected a file that can be read"),
        (["--cert", "cert.pem"], "tls.key: expected a file, since tls.cert is given"),
        (["--token-file", "no/such"], "token: expected a file that can be read"),
    ],
)
def test_wrong_credentials_are_wrong_usage(losswire, options, message):
    result = losswire("ping", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_credentials_reach_the_server(losswire, tmp_path):
    authority = trustme.CA()
    tls = write(tmp_path, authority, "caller")
    (tmp_path / "token").write_text("secret")
    with answering("localhost:0", server_credentials(authority, "localhost", asks=True)) as server:
        files = ("--ca", tls.ca, "--cert", tls.cert, "--key", tls.key, "--token-file", tmp_path / "token")
        assert losswire("ping", "--target", server.target, *files).exit_code == 0
    assert set(server.tokens) == {"Bearer secret"}
