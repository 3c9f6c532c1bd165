"""The service in the process, for tests by users of the SDK."""

import asyncio
import socket

import numpy as np
import pytest

from losswire_client import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotServedError,
    OverloadedError,
    ResourceExhaustedError,
    Retry,
    UnavailableError,
    testing,
)

RNG = np.random.default_rng(0)
LOGITS, TARGET = RNG.standard_normal((300, 2000), np.float32), RNG.integers(0, 2000, 300)
SMALL = LOGITS[:4, :5], TARGET[:4] % 5


@pytest.fixture(scope="module")
def service():
    with testing.Service() as running:
        yield running


@pytest.mark.parametrize("transport", ["auto", "unary", "stream"])
def test_results_have_the_bits_of_a_server(client, service, transport):
    with service.client(transport=transport) as fake:
        got = fake.cross_entropy(LOGITS, TARGET, grad=True, outputs=("lse", "predictions"))
    want = client.cross_entropy(LOGITS, TARGET, grad=True, outputs=("lse", "predictions"))
    assert got.loss == want.loss
    assert np.array_equal(got.grad, want.grad)
    assert np.array_equal(got.predictions, want.predictions)


def test_awaited_client_gets_the_same(service):
    async def evaluate():
        async with service.async_client() as fake:
            small, large = await asyncio.gather(fake.cross_entropy(*SMALL), fake.cross_entropy(LOGITS, TARGET))
            return small, large, await fake.ping(), await fake.capabilities()

    small, large, seconds, capabilities = asyncio.run(evaluate())
    with service.client() as fake:
        assert (small.loss, large.loss) == (fake.cross_entropy(*SMALL).loss, fake.cross_entropy(LOGITS, TARGET).loss)
        assert capabilities == fake.capabilities()
    assert seconds > 0


def test_no_socket_is_opened(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", None)
    monkeypatch.setattr(socket.socket, "bind", None)
    with testing.Service() as service, service.client() as fake:
        assert fake.cross_entropy(*SMALL).row_count == 4


def test_errors_are_those_of_the_server(service):
    with service.client() as fake:
        with pytest.raises(InvalidArgumentError, match="target: expected classes in") as raised:
            fake.cross_entropy(SMALL[0], SMALL[1] + 5)
        assert raised.value.argument == "target"
        with pytest.raises(NotServedError):
            fake.empty(3)


def test_settings_are_the_servers():
    with testing.Service(max_message_bytes=4096) as service, service.client(transport="stream") as fake:
        assert fake.capabilities().max_message_bytes == 4096
        with pytest.raises(ResourceExhaustedError, match="a row has 8008 bytes"):
            fake.cross_entropy(LOGITS, TARGET)


def test_failures_may_be_asked_for(service):
    late = DeadlineExceededError("too late")
    service.fail_next(UnavailableError("on its way"), OverloadedError("busy"), late)
    with service.client(retry=Retry(first_pause=0.01)) as fake:
        with pytest.raises(DeadlineExceededError) as raised:
            fake.cross_entropy(*SMALL)
        assert raised.value is late
        assert fake.cross_entropy(*SMALL).row_count == 4


def test_metrics_count_what_was_evaluated():
    with testing.Service() as service, service.client() as fake:
        result = fake.cross_entropy(*SMALL, series="mine")
        labels = {"series": "mine", "loss": "cross_entropy"}
        assert service.registry.get_sample_value("losswire_loss_sum_total", labels) == result.loss_sum


def test_missing_server_is_told(monkeypatch):
    monkeypatch.setattr("losswire_client.testing.entry_points", lambda **_: ())
    with pytest.raises(ImportError, match=r"pip install ./proto ./ce_engine ./server './client\[testing\]'"):
        testing.Service()
