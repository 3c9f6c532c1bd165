"""The client whose calls are awaited: everything that `Client` does, and cases that only tasks and event loops have."""

import asyncio
import inspect
import threading
from typing import Any

import numpy as np
import pytest

import ce_engine.cpu
from losswire_client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InvalidArgumentError,
    LosswireError,
    UnavailableError,
)
from tests.helpers import eventually, serving
from tests.present import present
from tests.replaced_evaluation import replace_evaluation
from tests.server.memory.shared_memory import leased_bytes

RNG = np.random.default_rng(0)
LOGITS = RNG.standard_normal((256, 2000), np.float32)  # 2 MB: several slabs
TARGET = RNG.integers(0, 2000, 256)
SMALL = RNG.standard_normal((8, 5), np.float32), RNG.integers(0, 5, 8)
PROBABILITIES = RNG.random((40, 50), np.float32)


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_both_clients_have_the_same_surface():
    assert public(Client).keys() == public(AsyncClient).keys()
    for name, function in public(Client).items():
        ours = inspect.signature(public(AsyncClient)[name])
        assert list(inspect.signature(function).parameters.values()) == list(ours.parameters.values()) or name == "map"
    assert inspect.signature(Client) == inspect.signature(AsyncClient)
    assert list(inspect.signature(Client.map).parameters) == list(inspect.signature(AsyncClient.map).parameters)


@pytest.mark.parametrize("transport", ["auto", "unary", "stream", "shared_memory"])
def test_both_clients_get_the_same_bits(client, target, transport):
    calls = [
        lambda c: c.cross_entropy(LOGITS, TARGET, grad=True, reduction="none", outputs=("lse", "predictions")),
        lambda c: c.nll_loss(np.log(PROBABILITIES), TARGET[:40] % 50, grad=True),
        lambda c: c.binary_cross_entropy(PROBABILITIES, PROBABILITIES, grad=True),
        lambda c: c.binary_cross_entropy_with_logits(PROBABILITIES, PROBABILITIES, pos_weight=PROBABILITIES, grad=True),
        lambda c: c.cross_entropy(*SMALL),
    ]

    async def evaluate():
        async with AsyncClient(target, transport=transport, timeout=20) as awaited:
            return await asyncio.gather(*(call(awaited) for call in calls))

    for got, want in zip(asyncio.run(evaluate()), [call(client) for call in calls], strict=True):
        assert np.array_equal(got.loss, want.loss)
        assert np.array_equal(got.grad, want.grad) if want.grad is not None else got.grad is None
        assert (got.loss_sum, got.weight_sum) == (want.loss_sum, want.weight_sum)


def test_capabilities_and_ping_work(client, target):
    async def ask():
        async with AsyncClient(target) as awaited:
            return await awaited.capabilities(), await awaited.ping()

    capabilities, seconds = asyncio.run(ask())
    assert capabilities == client.capabilities()
    assert 0 < seconds < 20


def test_resident_array_is_not_copied(target):
    async def evaluate():
        async with AsyncClient(target) as client:
            place = await client.empty(LOGITS.shape)
            place[...] = LOGITS
            result = await client.cross_entropy(place, TARGET, grad=True)
            return result, client._session.shared.holds(present(result.grad))

    result, in_a_region = asyncio.run(evaluate())
    assert in_a_region
    assert result.grad.shape == LOGITS.shape


def test_arrays_may_outlive_the_loop():
    with serving() as server:

        async def place():
            async with AsyncClient(f"127.0.0.1:{server.port}") as client:
                places = [await client.empty(2**20, "uint8") for _ in range(3)]
                await asyncio.to_thread(places.pop)
                return places

        places = asyncio.run(place())
        places.clear()
        eventually(lambda: leased_bytes(server) == 0)


def test_client_serves_loop_after_loop(target):
    client = AsyncClient(target)
    losses = {float(asyncio.run(evaluated(client)).loss) for _ in range(3)}
    assert len(losses) == 1


async def evaluated(client: AsyncClient, **options):
    return await client.cross_entropy(*SMALL, **options)


def test_many_tasks_share_a_client(target):
    async def evaluate():
        async with AsyncClient(target) as client:
            return await asyncio.gather(*(client.cross_entropy(SMALL[0] * k, SMALL[1]) for k in range(200)))

    with Client(target) as client:
        for k, result in enumerate(asyncio.run(evaluate())):
            assert k % 20 or result.loss == client.cross_entropy(SMALL[0] * k, SMALL[1]).loss


def test_invalid_argument_fails_when_awaited(target):
    async def evaluate():
        async with AsyncClient(target) as client:
            call = client.cross_entropy(SMALL[0], SMALL[1][:2])
            with pytest.raises(InvalidArgumentError, match="target: expected shape"):
                await call

    asyncio.run(evaluate())


@pytest.fixture
def held_up(monkeypatch):
    """A server that evaluates on command: its address, a wait for the beginning, and the command to go on."""
    begun, go_on, evaluate = threading.Event(), threading.Event(), ce_engine.cpu.evaluate

    def slow(*arguments, **options):
        begun.set()
        assert go_on.wait(20)
        return evaluate(*arguments, **options)

    replace_evaluation(monkeypatch, slow)
    with serving() as server:
        yield f"127.0.0.1:{server.port}", lambda: asyncio.to_thread(begun.wait, 20), go_on
        go_on.set()


@pytest.mark.parametrize("transport", ["unary", "shared_memory"])
def test_cancelled_task_harms_no_other_call(held_up, transport):
    target, begun, go_on = held_up

    async def evaluate():
        async with AsyncClient(target, transport=transport, timeout=20) as client:
            task = asyncio.create_task(client.cross_entropy(LOGITS, TARGET, grad=True))
            assert await begun()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go_on.set()
            return await client.cross_entropy(*SMALL)

    assert asyncio.run(evaluate()).row_count == 8


def test_closing_ends_calls_under_way(held_up):
    target, begun, _ = held_up

    async def close():
        client = AsyncClient(target, transport="unary", timeout=20)
        call = asyncio.create_task(client.cross_entropy(LOGITS, TARGET))
        assert await begun()
        await client.close()
        with pytest.raises(LosswireError, match="closed"):
            await call
        with pytest.raises(LosswireError, match="closed"):
            await client.cross_entropy(*SMALL)

    asyncio.run(close())


def test_no_server_is_an_error_of_the_tree(silent_target):
    async def call(target, timeout):
        async with AsyncClient(target, timeout=timeout, retry=None) as client:
            await client.cross_entropy(*SMALL)

    with pytest.raises(UnavailableError, match=r"no server .* at 127\.0\.0\.1:1"):
        asyncio.run(call("127.0.0.1:1", 20))
    with pytest.raises(DeadlineExceededError, match=rf"no answer from {silent_target} within 0.2 seconds"):
        asyncio.run(call(silent_target, 0.2))
