"""The commands against a server that asks for certificates and tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from losswire_server import Server
from tests.client.wires.certificates import write
from tests.helpers import serving
from tests.server.secured import HOST, write_certificate, write_client_ca, write_tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made: Path = tmp_path_factory.mktemp("secured")
    rng = np.random.default_rng(0)
    np.savez(made / "batch.npz", logits=rng.standard_normal((8, 5), np.float32), targets=rng.integers(5, size=8))
    (made / "token").write_text("secret\n")
    return made


@pytest.fixture(scope="module")
def secured(folder) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A server beyond loopback, and the variables of a caller that lacks its token."""
    authority = trustme.CA()
    settings = write_certificate(folder, authority) | write_client_ca(folder, authority)
    tls = write(folder, authority, "caller.example")
    with serving(host="0.0.0.0", **settings, **write_tokens(folder, team="secret")) as running:
        target = f"{HOST}:{running.port}"
        variables = {"TARGET": target, "TLS_CA": tls.ca, "TLS_CERT": tls.cert, "TLS_KEY": tls.key}
        yield running, {f"LOSSWIRE_{name}": str(value) for name, value in variables.items()}


COMMANDS = [
    ("ping", "--count", 1),
    ("eval", "batch.npz"),
    ("bench", "--shape", "8x5", "--seconds", 0.1, "--concurrency", 1),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_command_reaches_a_secured_server(command, losswire, secured, folder, monkeypatch):
    monkeypatch.chdir(folder)
    _, variables = secured
    for way in ({"LOSSWIRE_TOKEN": "secret"}, {"LOSSWIRE_TOKEN_FILE": "token"}):
        result = losswire(*command, **variables, **way)
        assert (result.exit_code, result.stderr) == (0, "")
    assert losswire(*command, "--token-file", "token", **variables).exit_code == 0


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("token", [{}, {"LOSSWIRE_TOKEN": "wrong"}], ids=["none", "wrong"])
def test_command_without_the_token_fails_in_a_line(command, token, losswire, secured, folder, monkeypatch):
    monkeypatch.chdir(folder)
    result = losswire(*command, **secured[1], **token)
    assert result.exit_code == 1
    assert "expected a token" in result.stderr
    assert result.stderr.count("\n") == 1


def test_options_complete_the_variables(losswire, secured):
    _, variables = secured
    ca = variables["LOSSWIRE_TLS_CA"]
    told = losswire("ping", "--count", 1, "--ca", ca, "--token", "secret", **variables)
    assert (told.exit_code, told.stderr) == (0, "")
    named = {**variables, "LOSSWIRE_TARGET": variables["LOSSWIRE_TARGET"].replace(HOST, "127.0.0.1")}
    refused = losswire("ping", "--count", 1, "--token", "secret", **named)
    assert refused.exit_code == 3
    assert "tls.server_name" in refused.stderr
    assert losswire("ping", "--count", 1, "--token", "secret", "--server-name", HOST, **named).exit_code == 0


def test_two_tokens_are_refused(losswire, folder):
    result = losswire("ping", "--token", "one", "--token-file", folder / "token")
    assert (result.exit_code, result.stderr) == (2, "losswire: --token: expected it or --token-file, got both\n")


def test_top_reads_the_metrics_of_a_secured_server(losswire, secured):
    url = f"http://127.0.0.1:{secured[0].metrics_port}/metrics"
    assert losswire("top", "--once", "--interval", 0.1, "--metrics-url", url).exit_code == 0
