"""Callers that leave before or while they travel with other callers: nobody waits for them."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

from losswire_client import AsyncClient, Client
from losswire_client._wires.coalescing_threads import _Caller
from losswire_client._wires.grpc_wire import GrpcWire
from tests.helpers import eventually

ROWS = np.zeros((3, 7), np.float32), np.zeros(3, np.int64)


class Interrupt(BaseException):
    """An exception such as a signal's handler raises."""


def interruption(client) -> bool:
    try:
        client.cross_entropy(*ROWS)
    except Interrupt:
        return True
    return False


def callers_of(client: Any) -> Any:
    return client._connection.wire()._coalescing._callers


def is_in_flight(callers: Any, count: int) -> bool:
    return bool(callers._in_flight == count)


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_interrupted_thread_frees_its_slot(target, monkeypatch, role):
    send, wait, go_on = GrpcWire.evaluate_together, _Caller.wait, threading.Event()

    async def held_up(self, requests, deadline):
        go_on.wait(20)
        return await send(self, requests, deadline)

    def interrupted(self, seconds):
        if threading.current_thread().name == "interrupted":
            raise Interrupt
        return wait(self, seconds)

    monkeypatch.setattr(GrpcWire, "evaluate_together", held_up)
    monkeypatch.setattr(_Caller, "wait", interrupted)
    with Client(target, coalesce=True, timeout=20) as client, ThreadPoolExecutor(16) as pool:
        client.capabilities()
        callers, calls = callers_of(client), list[Any]()
        for in_flight in (1,) if role == "leader" else (1, 2):
            calls.append(pool.submit(client.cross_entropy, *ROWS))
            eventually(partial(is_in_flight, callers, in_flight))
        callers._company = 100  # so many callers make a leader wait
        thread = threading.Thread(target=lambda: calls.append(interruption(client)), name="interrupted")
        thread.start()
        thread.join(20)
        assert calls.pop() is True
        calls += [pool.submit(client.cross_entropy, *ROWS) for _ in range(8)]
        go_on.set()
        assert [each.result(20).row_count for each in calls] == [3] * len(calls)
    assert (callers._in_flight, callers._travelling, len(callers._waiting)) == (0, 0, 0)


def test_tasks_that_leave_free_their_slots(target):
    async def evaluate():
        async with AsyncClient(target, coalesce=True, timeout=20) as client:
            await client.capabilities()
            tasks = [asyncio.create_task(client.cross_entropy(*ROWS)) for _ in range(20)]
            callers = callers_of(client)
            await asyncio.sleep(0)  # now they have joined, and nobody has sent
            for task in tasks[:10]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            return results, (callers._in_flight, callers._travelling, len(callers._waiting))

    results, left = asyncio.run(evaluate())
    assert all(isinstance(result, asyncio.CancelledError) for result in results[:10])
    assert [result.row_count for result in results[10:]] == [3] * 10
    assert left == (0, 0, 0)
