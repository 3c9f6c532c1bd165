"""Clients that go to other processes, and their texts."""

import asyncio
import copy
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from losswire_client import TLS, AsyncClient, Client, LosswireError, Retry, testing
from tests.client.wires.grpc_servers import answering
from tests.processes import run

ROW = np.array([[0.5, 1.5, -1.0]], np.float32), [1]


def evaluate(client: Client) -> float:
    with client:
        return float(client.cross_entropy(*ROW).loss)


def test_pickled_client_connects_anew(target):
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).cross_entropy([[0.5, 1.5, -1.0]], [1]).loss)"
    with Client(target) as client:
        loss = client.cross_entropy([[0.5, 1.5, -1.0]], [1]).loss  # so that it is connected
        done = run([sys.executable, "-c", program], input=pickle.dumps(client), capture_output=True, check=True)
    assert float(done.stdout) == loss


def test_pickled_async_client_works(target):
    async def loss(client):
        async with client:
            return float((await client.cross_entropy(*ROW)).loss)

    client = AsyncClient(target, coalesce=True)
    assert asyncio.run(loss(pickle.loads(pickle.dumps(client)))) == asyncio.run(loss(client))


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda client: pickle.loads(pickle.dumps(client))])
def test_what_a_client_was_told_goes_along(kind, how):
    told = {"timeout": 2.5, "transport": "stream", "retry": Retry(seconds=3), "coalesce": True, "tls": TLS()}
    client = kind(["a", "b"], **told)
    again = how(client)
    assert again is not client
    assert repr(again) == repr(client)
    assert again._retry == Retry(seconds=3)


def test_pickled_client_reads_the_environment(monkeypatch):
    monkeypatch.setenv("LOSSWIRE_TARGET", "here")
    monkeypatch.setenv("LOSSWIRE_TOKEN", "secret")
    monkeypatch.setenv("LOSSWIRE_TLS", "1")
    pickled = pickle.dumps(Client())
    assert b"secret" not in pickled
    monkeypatch.setenv("LOSSWIRE_TARGET", "there")
    assert pickle.loads(pickled).target == "there:50051"


def test_token_goes_along_as_it_was_told(tmp_path):
    file = tmp_path / "token"
    file.write_text("from-file")
    with answering() as server:
        for token in ("as-text", file):
            pickled = pickle.dumps(Client(server.target, token=token))
            assert b"from-file" not in pickled
            evaluate(pickle.loads(pickled))
    assert server.tokens == ["Bearer as-text", "Bearer from-file"]


def test_in_process_client_is_not_pickled():
    with testing.Service() as service, service.client() as client, pytest.raises(LosswireError, match="cannot leave"):
        pickle.dumps(client)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Client('localhost:50051', timeout=60, transport='auto')", {}),
        (
            "Client('a:50051, b:7', timeout=0.5, transport='unary')",
            {"target": "a,b:7", "timeout": 0.5} | {"transport": "unary"},
        ),
        (
            "Client('localhost:50051', timeout=60, transport='auto', tls=True, token=***)",
            {"tls": True, "token": "secret"},
        ),
        (
            "Client('localhost:50051', timeout=60, transport='auto', retry=None, coalesce=True)",
            {"retry": None, "coalesce": True},
        ),
    ],
)
def test_text_of_a_client_says_what_it_is(text, told):
    client = Client(**told)
    assert repr(client) == str(client) == text
    client.close()
    assert repr(client) == f"<closed {text}>"


def test_text_of_a_client_tells_no_secret(tmp_path):
    (tmp_path / "token").write_text("secret")
    for token in ("secret", Path(tmp_path / "token")):
        assert "secret" not in repr(AsyncClient(token=token, tls=TLS(server_name="losses")))
