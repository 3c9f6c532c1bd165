"""More calls than there is shared memory for: they wait for each other's regions, or travel in another way."""

import asyncio
import time
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import cast

import numpy as np
import pytest

from losswire_client import AsyncClient, Client, LosswireError, OverloadedError
from losswire_client._flow import run
from losswire_client._transports import region_pool
from losswire_client._transports.region_queue import RegionQueue
from losswire_client._transports.session import Session
from losswire_client._transports.wire import Wire
from losswire_server import Server
from tests.client.transports.residents import LOGITS, MIB, TARGET, connected, in_a_region
from tests.helpers import eventually, serving

CALLERS, CALLS = 32, 3
BATCHES = [LOGITS + k for k in range(CALLERS)]


@pytest.fixture(params=[2, 5, 8], ids=lambda regions: f"{regions} regions")
def scarce(request) -> Iterator[Server]:
    """A server with memory for few regions, each for the input or the gradient of a batch."""
    with serving(shared_memory_bytes=request.param * MIB, caller_share=1) as server:
        yield server


@pytest.fixture
def sent(monkeypatch) -> list[object]:
    """Takes notice of evaluations that are sent, and not shared."""
    found, send = list[object](), Session._sent

    async def noticed(session, evaluation, *more):
        found.append(evaluation)
        return await send(session, evaluation, *more)

    monkeypatch.setattr(Session, "_sent", noticed)
    return found


@pytest.mark.parametrize("transport", ["auto", "shared_memory"])
def test_threads_wait_for_each_others_regions(scarce, sent, transport):
    with connected(scarce, transport=transport, retry=None) as client, ThreadPoolExecutor(CALLERS) as threads:

        def sums(batch):
            return [float(client.cross_entropy(batch, TARGET, grad=True).grad.sum()) for _ in range(CALLS)]

        found = list(threads.map(sums, BATCHES))
        assert not sent
        for batch, seen in zip(BATCHES[:3], found, strict=False):
            assert seen == [float(client.cross_entropy(batch, TARGET, grad=True).grad.sum())] * CALLS


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["auto", "shared_memory"])
def test_kept_gradients_let_others_be_sent(scarce, sent, transport):
    with connected(scarce, transport=transport, retry=None) as client, ThreadPoolExecutor(CALLERS) as threads:
        results = list(threads.map(lambda batch: client.cross_entropy(batch, TARGET, grad=True), BATCHES))
        assert sent
        assert any(in_a_region(client, result.grad) for result in results)
    with connected(scarce, transport="unary") as client:
        for batch, result in zip(BATCHES, results, strict=True):
            assert np.array_equal(result.grad, client.cross_entropy(batch, TARGET, grad=True).grad)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["auto", "shared_memory"])
def test_tasks_wait_for_each_others_regions(scarce, transport):
    async def loss(client, batch):
        return [(await client.cross_entropy(batch, TARGET, grad=True)).loss for _ in range(CALLS)]

    async def losses():
        target = f"127.0.0.1:{scarce.port}"
        async with AsyncClient(target, transport=transport, timeout=20, retry=None) as client:
            return await asyncio.gather(*(loss(client, batch) for batch in BATCHES))

    found = asyncio.run(losses())
    with connected(scarce, transport="unary") as client:
        assert found == [[client.cross_entropy(batch, TARGET).loss] * CALLS for batch in BATCHES]


def test_clients_do_not_wait_for_each_other(scarce):
    clients = [connected(scarce, transport="shared_memory", retry=None) for _ in range(6)]

    def losses(client):
        return [client.cross_entropy(LOGITS, TARGET, grad=True).loss for _ in range(20)]

    with ThreadPoolExecutor(len(clients)) as threads:
        (loss,) = {float(loss) for of_one in threads.map(losses, clients) for loss in of_one}
    for client in clients:
        client.close()
    assert loss == pytest.approx(7.4, abs=0.2)


@pytest.mark.parametrize("transport", ["auto", "shared_memory"])
def test_batch_above_the_quota_is_sent(scarce, sent, transport):
    large = np.zeros((256, 12000), np.float32)
    with connected(scarce, transport=transport, retry=None) as client:
        assert client.cross_entropy(large, TARGET, grad=True).row_count == 256
    assert len(sent) == 1


@pytest.mark.parametrize("limit", [{"max_connection_calls": 8}, {"caller_requests": 8}, {"caller_leases": 4}], ids=str)
def test_regions_leave_room_for_calls(limit):
    with serving(**limit) as server, connected(server, transport="shared_memory", retry=None) as client:
        kept = [client.cross_entropy(batch, TARGET, grad=True) for batch in BATCHES]
        assert sum(in_a_region(client, result.grad) for result in kept) in (3, 4)
        with pytest.raises(OverloadedError, match="4 regions, and may have 4"):
            kept += [client.empty(10) for _ in range(2)]


def test_wait_for_regions_has_an_end(monkeypatch):
    monkeypatch.setattr(region_pool, "WAIT_SECONDS", 0.2)
    with full() as client:
        start = time.monotonic()
        assert client.cross_entropy(LOGITS, TARGET, grad=True).row_count == 256
        assert 0.2 <= time.monotonic() - start < 5


def test_client_that_closes_lets_waiting_calls_go(monkeypatch):
    monkeypatch.setattr(region_pool, "WAIT_SECONDS", 60.0)
    with full() as client, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(client.cross_entropy, LOGITS, TARGET, grad=True)
        eventually(lambda: bool(client._session.shared._pool._queue._listeners))
        time.sleep(0.2)  # until the server has refused a lease
        client.close()
        with pytest.raises(LosswireError, match="closed"):
            waiting.result(20)


@contextmanager
def full() -> Iterator[Client]:
    """A client whose shared memory is used up by a call that does not end."""
    with (
        serving(shared_memory_bytes=2 * MIB, caller_share=1) as server,
        connected(server, transport="shared_memory") as client,
    ):
        held = client.empty(2 * MIB, "uint8")
        client._session.shared._pool.begin_call()
        yield client
        del held


class Waiting:
    """What a turn needs of a wire."""

    async def wait(self, future: futures.Future[None], seconds: float) -> bool:
        return bool(futures.wait([future], seconds).done)


def test_turns_come_in_order():
    queue, order, wire = RegionQueue(), list[int](), cast(Wire, Waiting())

    async def turn(number):
        async with queue.turn(wire, 20):
            order.append(number)

    async def first_turn():
        async with queue.turn(wire, 20):
            with pytest.raises(TimeoutError):
                async with queue.turn(wire, 0.01):
                    pass
            waiting = []
            for number in range(5):
                waiting.append(threads.submit(run, turn(number)))
                eventually(lambda: len(queue._waiting) == len(waiting) + 1)
            assert not order

    with ThreadPoolExecutor(5) as threads:
        run(first_turn())
    assert order == list(range(5))
    assert not queue
