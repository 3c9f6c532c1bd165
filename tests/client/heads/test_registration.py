"""Heads of a real server, and losses that name them: each server that lacks one gets it."""

import asyncio

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from losswire_client import (
    AsyncClient,
    Client,
    Head,
    HeadNotFoundError,
    InvalidArgumentError,
    Norm,
    NotServedError,
    testing,
)
from tests.helpers import serving
from tests.present import present

RNG = np.random.default_rng(0)
WEIGHT, BIAS = RNG.standard_normal((50, 8)).astype(np.float32), RNG.standard_normal(50).astype(np.float32)
HIDDEN, TARGET = RNG.standard_normal((30, 8)).astype(np.float32), RNG.integers(0, 50, 30)


@pytest.fixture
def head():
    """A head of its own, which no server has."""
    return Head(RNG.standard_normal((50, 8)).astype(np.float32), BIAS)


@pytest.fixture(scope="module")
def holder():
    with serving(allow_head_registration=True) as running:
        yield running


@pytest.fixture(scope="module")
def client(holder):
    with Client(f"127.0.0.1:{holder.port}") as connected:
        yield connected


def digests(client: Client) -> list[str]:
    return [held.digest for held in client.heads()]


def test_call_with_a_head_is_that_of_torch(client):
    result = client.linear_cross_entropy(HIDDEN, Head(WEIGHT, BIAS), TARGET, grad=True, outputs=["probabilities"])
    leaf = torch.from_numpy(HIDDEN).requires_grad_()
    loss = F.linear_cross_entropy(
        leaf, torch.from_numpy(WEIGHT), torch.from_numpy(TARGET), linear_bias=torch.from_numpy(BIAS)
    )
    loss.backward()
    np.testing.assert_allclose(result.loss, loss.detach(), rtol=1e-5)
    np.testing.assert_allclose(result.grad, present(leaf.grad), rtol=1e-4, atol=1e-6)
    assert result.probabilities.shape == (30, 50)


def test_head_is_registered_listed_named_and_deleted(client, head):
    held = client.register_head(head, "mine")
    assert (held.digest, held.aliases) == (head.digest, ("mine",))
    assert (held.class_count, held.width, held.dtype, held.norm) == (50, 8, "float32", None)
    assert client.get_head("mine") == client.get_head(head) == held
    assert held in client.heads()
    loss = client.linear_cross_entropy(HIDDEN, "mine", TARGET).loss
    assert loss == client.linear_cross_entropy(HIDDEN, head.digest, TARGET).loss
    client.set_head_alias("yours", "mine")
    assert client.get_head("yours").aliases == ("mine", "yours")
    client.delete_head("yours")
    assert client.get_head(head).aliases == ("mine",)
    client.delete_head(head)
    with pytest.raises(HeadNotFoundError) as raised:
        client.get_head(head.digest)
    assert raised.value.head == head.digest
    with pytest.raises(HeadNotFoundError):
        client.delete_head(head)


def test_awaited_calls_do_the_same(holder, head):
    async def use():
        async with AsyncClient(f"127.0.0.1:{holder.port}") as client:
            results = await asyncio.gather(*(client.linear_cross_entropy(HIDDEN, head, TARGET) for _ in range(8)))
            held = await client.set_head_alias("awaited", head)
            assert held in await client.heads()
            assert await client.get_head("awaited") == held == await client.register_head(head)
            await client.delete_head(head)
            with pytest.raises(HeadNotFoundError):
                await client.linear_cross_entropy(HIDDEN, head.digest, TARGET)
            return results

    assert len({float(result.loss) for result in asyncio.run(use())}) == 1


@pytest.mark.parametrize("coalesce", [False, True])
def test_map_registers_the_head(holder, head, coalesce):
    with Client(f"127.0.0.1:{holder.port}", coalesce=coalesce) as client:
        batches = [(HIDDEN[i : i + 3], head, TARGET[i : i + 3]) for i in range(0, 30, 3)]
        results = list(client.map(batches, loss="linear_cross_entropy", window=4))
        whole = client.linear_cross_entropy(HIDDEN, head, TARGET, exact=True)
    mean = sum(result.loss_sum for result in results) / sum(result.weight_sum for result in results)
    assert mean == pytest.approx(float(whole.loss), rel=1e-6)


@pytest.mark.parametrize("transport", ["unary", "stream", "shared_memory"])
def test_every_transport_registers_the_head(holder, head, transport):
    hidden = np.tile(HIDDEN, (400, 1))  # so that a stream ends amid its messages
    target = np.tile(TARGET, 400)

    async def evaluate():
        async with AsyncClient(f"127.0.0.1:{holder.port}", transport=transport) as client:
            return await client.linear_cross_entropy(hidden, head, target)

    with Client(f"127.0.0.1:{holder.port}", transport=transport) as client:
        loss = client.linear_cross_entropy(hidden, head, target).loss
        client.delete_head(head)
    assert asyncio.run(evaluate()).loss == loss


def test_alias_that_is_set_for_a_missing_head_registers_it(client, head):
    assert client.set_head_alias("set", head).aliases == ("set",)


@pytest.mark.parametrize(
    ("alias", "message"),
    [
        ("", "alias: expected 1 to 200 letters"),
        ("a b", "alias: expected"),
        ("0" * 64, "expected an alias, got a digest"),
    ],
)
def test_wrong_alias_is_refused_before_the_head_is_sent(client, head, alias, message):
    with pytest.raises(InvalidArgumentError, match=message) as raised:
        client.register_head(head, alias)
    assert (raised.value.argument, raised.value.code) == ("alias", None)
    assert head.digest not in digests(client)


def test_head_whose_arrays_were_written_to_is_refused(client):
    weight = WEIGHT.copy()
    head = Head(weight)
    weight[0] = 0
    assert head.digest == Head(WEIGHT).digest
    with pytest.raises(InvalidArgumentError, match="arrays of this Head were written to"):
        client.register_head(head)


def test_each_of_several_servers_gets_the_head(head):
    options = {"allow_head_registration": True}
    with serving(**options) as one, serving(**options) as two:
        targets = [f"127.0.0.1:{server.port}" for server in (one, two)]
        with Client(targets) as both:
            losses = {float(both.linear_cross_entropy(HIDDEN, head, TARGET).loss) for _ in range(6)}
        for target in targets:
            with Client(target) as single:
                assert digests(single) == [head.digest]
    assert len(losses) == 1


def test_server_that_was_replaced_gets_the_head_again(head):
    with serving(allow_head_registration=True) as first, Client(f"127.0.0.1:{first.port}") as client:
        before = client.linear_cross_entropy(HIDDEN, head, TARGET).loss
        client.delete_head(head)
        assert client.linear_cross_entropy(HIDDEN, head, TARGET).loss == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (WEIGHT, r"got ndarray: float32 of shape \(50, 8\); make one of a weight, as in Head\(weight, bias\)$"),
        (torch.nn.Linear(8, 50), r"make one of a layer, as in Head\(layer.weight, layer.bias\)$"),
        (TARGET, r"got ndarray: int64 of shape \(30,\)$"),
        (None, "got None$"),
    ],
)
def test_what_is_no_head_is_told_how_to_be_one(client, given, message):
    with pytest.raises(InvalidArgumentError, match=message):
        client.linear_cross_entropy(HIDDEN, given, TARGET)


def test_name_that_the_server_lacks_says_what_to_do(client):
    with pytest.raises(HeadNotFoundError, match="'nobody': register it, or name another one"):
        client.linear_cross_entropy(HIDDEN, "nobody", TARGET)


def test_server_without_heads_says_so(head):
    with serving(allow_head_registration=False) as without, Client(f"127.0.0.1:{without.port}") as client:
        assert client.capabilities().head_limits is None
        with pytest.raises(NotServedError, match="holds no heads"):
            client.register_head(head)
        with pytest.raises(NotServedError, match="holds no heads"):
            client.linear_cross_entropy(HIDDEN, head, TARGET)


def test_limits_are_told(client):
    limits = client.capabilities().head_limits
    assert limits is not None
    assert limits.may_register
    assert limits.max_bytes > 2**20
    assert limits.max_heads >= 1
    assert limits.resume_seconds > 0


def test_service_in_this_process_takes_heads():
    head = Head(WEIGHT, norm=Norm("rms", 1e-6), softcap=30)
    with testing.Service(allow_head_registration=True) as service, service.client() as client:
        expected = client.linear_cross_entropy(HIDDEN, head, TARGET)
        assert client.register_head(head, "mine").norm == "rms"
        assert client.linear_cross_entropy(HIDDEN, "mine", TARGET).loss == expected.loss

        async def use():
            return (await service.async_client().linear_cross_entropy(HIDDEN, head, TARGET)).loss

        assert asyncio.run(use()) == expected.loss
