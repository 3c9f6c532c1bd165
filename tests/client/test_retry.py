"""Which calls are tried again, when, and for how long."""

import asyncio
import logging
import time

import grpc
import numpy as np
import pytest

from losswire_client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    OverloadedError,
    ResourceExhaustedError,
    Retry,
    UnavailableError,
    _retry,
)
from losswire_server.errors import OverloadedError as ServerOverloadedError
from losswire_server.errors import to_status, trailers
from tests.client.wires.grpc_servers import Refusal, answering

SMALL = np.array([[0.5, 1.5, -1.0]], np.float32), [1]
LARGE = np.zeros((2000, 1000), np.float32), np.zeros(2000, np.int64)
QUICK = Retry(first_pause=0.01, longest_pause=0.02)
UNAVAILABLE: Refusal = (grpc.StatusCode.UNAVAILABLE, "on its way", ())
CANCELLED: Refusal = (grpc.StatusCode.CANCELLED, "", ())


def overloaded(milliseconds: int) -> Refusal:
    error = ServerOverloadedError("too much is in flight", milliseconds)
    status = to_status(error)
    return status.code, status.details or "", tuple(trailers(error, status))


@pytest.fixture
def server():
    with answering() as running:
        yield running


@pytest.mark.parametrize("refusal", [UNAVAILABLE, CANCELLED, overloaded(1)], ids=lambda refusal: refusal[0].name)
@pytest.mark.parametrize(("transport", "batch"), [("unary", SMALL), ("unary", LARGE), ("stream", LARGE)])
def test_passing_failure_is_tried_again(server, refusal, transport, batch):
    with Client(server.target, transport=transport, retry=QUICK) as client:
        expected = client.cross_entropy(*batch)
        server.refusals += [refusal] * 5
        assert client.cross_entropy(*batch, grad=True).loss == expected.loss
        assert not server.refusals


def test_awaited_calls_are_tried_again_too(server):
    async def evaluate():
        async with AsyncClient(server.target, retry=QUICK) as client:
            return await asyncio.gather(*(client.cross_entropy(*SMALL) for _ in range(4)))

    server.refusals += [UNAVAILABLE] * 5
    assert len(asyncio.run(evaluate())) == 4
    assert len(server.methods) == 9


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgumentError),
        (grpc.StatusCode.INTERNAL, InternalError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhaustedError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError),
    ],
)
def test_what_does_not_pass_is_not_tried_again(server, code, error):
    server.refusals.append((code, "no", ()))
    with Client(server.target, retry=QUICK) as client, pytest.raises(error):
        client.cross_entropy(*SMALL)
    assert server.methods == ["Evaluate"]


def test_no_retry_gives_the_first_error(server):
    server.refusals.append(UNAVAILABLE)
    with Client(server.target, retry=None) as client, pytest.raises(UnavailableError, match="on its way"):
        client.cross_entropy(*SMALL)
    assert server.methods == ["Evaluate"]


def test_pause_is_as_long_as_asked_for(server):
    server.refusals += [overloaded(200)] * 2
    with Client(server.target, retry=QUICK) as client:
        client.ping()
        start = time.monotonic()
        client.cross_entropy(*SMALL)
    assert time.monotonic() - start >= 0.4


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_pushback_of_grpcs_own_is_honoured_too(server, code):
    server.refusals.append((code, "later", (("grpc-retry-pushback-ms", "200"),)))
    with Client(server.target, retry=QUICK) as client:
        client.ping()
        start = time.monotonic()
        client.cross_entropy(*SMALL)
        assert time.monotonic() - start >= 0.2
        server.refusals.append((code, "never", (("grpc-retry-pushback-ms", "-1"),)))
        with pytest.raises((UnavailableError, OverloadedError), match="never") as raised:
            client.cross_entropy(*SMALL)
    assert raised.value.retry_seconds == float("inf")


def test_retry_ends_at_the_deadline(server):
    server.refusals += [overloaded(25_000), UNAVAILABLE]
    with Client(server.target, timeout=20) as client:
        start = time.monotonic()
        with pytest.raises(OverloadedError) as raised:
            client.cross_entropy(*SMALL)
    assert time.monotonic() - start < 15
    assert raised.value.retry_seconds == 25
    assert len(server.methods) == 1


def test_retry_ends_after_its_seconds():
    start = time.monotonic()
    with Client("127.0.0.1:1", retry=Retry(seconds=0.3, first_pause=0.05)) as client, pytest.raises(UnavailableError):
        client.cross_entropy(*SMALL)
    assert time.monotonic() - start < 5


def test_first_retry_is_told_in_the_log(server, caplog, monkeypatch):
    monkeypatch.setattr(_retry, "_last_news", -_retry.NEWS_SECONDS)
    server.refusals += [UNAVAILABLE] * 3
    with caplog.at_level(logging.INFO, "losswire_client"), Client(server.target, retry=QUICK) as client:
        client.cross_entropy(*SMALL)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("trying again for up to 30 seconds: no server can be reached at 127.0.0.1:")


def test_returned_server_is_asked_anew(server):
    with Client(server.target, transport="stream", retry=QUICK) as client:
        client.cross_entropy(*LARGE)
        server.refusals.append(UNAVAILABLE)
        client.cross_entropy(*LARGE)
    assert server.methods == [
        "GetCapabilities",
        "EvaluateStream",
        "EvaluateStream",
        "GetCapabilities",
        "EvaluateStream",
    ]


@pytest.mark.parametrize("argument", ["seconds", "first_pause", "longest_pause"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_retry_that_is_none_is_refused(argument, value):
    with pytest.raises(InvalidArgumentError, match=rf"retry\.{argument}: expected more than 0, got"):
        Retry(**{argument: value})
