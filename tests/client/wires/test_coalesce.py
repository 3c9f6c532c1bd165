"""Small evaluations that travel together are each answered as if they had travelled alone."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

import losswire_server.calls.packs
from losswire_client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InternalError,
    InvalidArgumentError,
    LosswireError,
    Result,
    Retry,
)
from losswire_client._errors import late
from losswire_client._wires.grpc_wire import GrpcWire
from losswire_server.errors import OverloadedError
from losswire_server.rpc.service import LossService
from tests.client.many.mapping import mapped
from tests.client.request.verdicts import unchecked
from tests.client.wires.small_calls import LARGE, SMALL, assert_same, calls_of, target_of
from tests.helpers import eventually, serving

CALLS = [
    lambda c, n: c.cross_entropy(*SMALL[n], grad=True, reduction="none", outputs=("predictions", "entropy")),
    lambda c, n: c.cross_entropy(*SMALL[n], label_smoothing=0.1),
    lambda c, n: c.nll_loss(SMALL[n][0], SMALL[n][1], weight=np.arange(7.0), grad=True),
    lambda c, n: c.binary_cross_entropy_with_logits(SMALL[n][0], SMALL[n][0] * 0),
]


def call(client, n: int):
    return CALLS[n % len(CALLS)](client, n)


def in_threads(client: Client, evaluate=call) -> list[Any]:
    with ThreadPoolExecutor(32) as pool:
        return list(pool.map(lambda n: evaluate(client, n), range(len(SMALL))))


def in_tasks(target: str, evaluate=call, **options: Any) -> list[Any]:
    async def gather():
        async with AsyncClient(target, coalesce=True, **options) as client:
            return await asyncio.gather(*(evaluate(client, n) for n in range(len(SMALL))), return_exceptions=True)

    return asyncio.run(gather())


@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_packs_have_the_bits_of_single_calls(client, how):
    with serving() as server:
        if how == "threads":
            with Client(target_of(server), coalesce=True) as together:
                results = in_threads(together)
        else:
            results = in_tasks(target_of(server))
        assert calls_of(server, "Evaluate") + calls_of(server, "BatchEvaluate") <= len(SMALL) / 3
    for n, result in enumerate(results):
        assert_same(result, call(client, n))


def spoiled(client, n: int):
    """Every fifth call has a class that only the server refuses, since the SDK's own checks are off."""
    logits, target = SMALL[n]
    return client.cross_entropy(logits, target + 7 * (n % 5 == 0))


def error_or_loss(client, n: int):
    try:
        return spoiled(client, n)
    except InvalidArgumentError as error:
        return error


@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_wrong_request_fails_alone(client, target, how):
    with unchecked():
        if how == "threads":
            with Client(target, coalesce=True) as together:
                outcomes = in_threads(together, error_or_loss)
        else:
            outcomes = in_tasks(target, spoiled)
        alone = [error_or_loss(client, n) for n in range(len(SMALL))]
    for outcome, expected in zip(outcomes, alone, strict=True):
        assert type(outcome) is type(expected)
        if isinstance(expected, LosswireError):
            assert (str(outcome), outcome.argument, outcome.code) == (str(expected), "target", expected.code)
        else:
            assert outcome.loss == expected.loss


def test_large_or_resident_travels_alone(server, target):
    with Client(target, coalesce=True) as client:
        before = calls_of(server, "BatchEvaluate")
        place = client.empty(LARGE[0].shape)
        place[...] = 0
        assert client.cross_entropy(*LARGE).loss == client.cross_entropy(place, LARGE[1]).loss
        assert calls_of(server, "BatchEvaluate") == before


@pytest.mark.parametrize("max_requests", [0, 1, 3])
def test_packs_hold_what_the_server_takes(max_requests):
    with serving(max_batch_requests=max_requests) as server, Client(target_of(server), coalesce=True) as client:
        assert len(in_threads(client)) == len(in_tasks(target_of(server))) == len(SMALL)
        assert sum(1 for _ in client.map(SMALL)) == len(SMALL)
        assert sum(1 for _ in mapped(AsyncClient(client.target, coalesce=True), SMALL)) == len(SMALL)
        assert (calls_of(server, "BatchEvaluate") > 0) == (max_requests > 1)
        assert max_requests > 1 or calls_of(server, "Evaluate") == 4 * len(SMALL)


@pytest.mark.parametrize("how", ["threads", "tasks", "map", "awaited map"])
def test_message_that_fails_is_tried_again(client, monkeypatch, how):
    refusals = [OverloadedError("too much is in flight", 1)] * 3
    evaluate = losswire_server.calls.packs.Packs.__call__

    async def failing(self, data, caller):
        if refusals:
            raise refusals.pop()
        return await evaluate(self, data, caller)

    monkeypatch.setattr(losswire_server.calls.packs.Packs, "__call__", failing)
    retry = Retry(first_pause=0.01)
    with serving() as server, Client(target_of(server), coalesce=True, retry=retry) as together:
        if how.endswith("map"):
            kind = Client if how == "map" else AsyncClient
            results = list(mapped(kind(together.target, coalesce=True, retry=retry), SMALL, reduction="sum"))
        else:
            results = (
                in_threads(together, summed) if how == "threads" else in_tasks(together.target, summed, retry=retry)
            )
    assert refusals == []
    for n, result in enumerate(results):
        assert_same(result, summed(client, n))


def summed(client, n: int):
    return client.cross_entropy(*SMALL[n], reduction="sum")


@pytest.fixture
def held_up(monkeypatch):
    """A server that answers on command."""
    go_on = threading.Event()

    def slow(method):
        async def answer(self, request, context):
            await asyncio.to_thread(go_on.wait, 20)
            return await method(self, request, context)

        return answer

    for name in ("Evaluate", "BatchEvaluate"):
        monkeypatch.setattr(LossService, name, slow(getattr(LossService, name)))
    with serving() as server:
        yield target_of(server), go_on
        go_on.set()


def test_thread_that_leaves_harms_no_other(held_up):
    target, go_on = held_up
    with Client(target, coalesce=True, timeout=20) as client, ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(call, client, n) for n in range(10)]
        time.sleep(0.2)
        start = time.monotonic()
        with pytest.raises(DeadlineExceededError, match=r"within 0\.1 seconds"):
            client.cross_entropy(*SMALL[0], timeout=0.1)
        assert time.monotonic() - start < 5
        go_on.set()
        assert [future.result().row_count for future in waiting] == [call(client, n).row_count for n in range(10)]


def is_in_state(callers: Any, state: tuple[int, int]) -> bool:
    return (callers._in_flight, len(callers._waiting)) == state


@pytest.mark.slow
def test_leaders_timeout_binds_nobody_else(target, monkeypatch):
    send, first, second = GrpcWire.evaluate_together, threading.Event(), threading.Event()
    held, sent = [second, first], []

    async def never_together(self, requests, deadline):
        sent.append((len(requests), deadline.seconds))
        if held:
            held.pop().wait(20)
        if len(requests) > 1:
            time.sleep(deadline.remaining())  # noqa: ASYNC251 - like a wire that blocks
            raise late("who knows", deadline.seconds)
        return await send(self, requests, deadline)

    monkeypatch.setattr(GrpcWire, "evaluate_together", never_together)
    with Client(target, coalesce=True, timeout=20) as client, ThreadPoolExecutor(4) as pool:
        client.capabilities()
        wire: Any = client._connection.wire()
        callers, waiting = wire._coalescing._callers, list[Any]()
        for timeout, queued in ((20, 0), (20, 0), (2, 1), (20, 2)):
            waiting.append(pool.submit(client.cross_entropy, *SMALL[0], timeout=timeout))
            state = min(len(waiting), 2), queued
            eventually(partial(is_in_state, callers, state))
        first.set()  # not the second message too: then the last caller would send alone
        with pytest.raises(DeadlineExceededError, match=r"within 2 seconds$"):
            waiting.pop(2).result(10)
        second.set()
        assert [future.result(10).row_count for future in waiting] == [len(SMALL[0][1])] * 3
    assert sent == [(1, 20), (1, 20), (2, 2), (1, 20)]  # whoever led does not send again when its time is over


def test_task_that_leaves_harms_no_other(held_up):
    target, go_on = held_up

    async def evaluate():
        async with AsyncClient(target, coalesce=True, timeout=20) as client:
            waiting = [asyncio.create_task(call(client, n)) for n in range(10)]
            await asyncio.sleep(0.2)
            with pytest.raises(DeadlineExceededError, match=r"within 0\.1 seconds"):
                await client.cross_entropy(*SMALL[0], timeout=0.1)
            waiting[3].cancel()
            go_on.set()
            return await asyncio.gather(*waiting, return_exceptions=True)

    results = asyncio.run(evaluate())
    assert isinstance(results.pop(3), asyncio.CancelledError)
    assert all(result.row_count for result in results)


def test_closed_client_tells_waiting_calls(held_up):
    target, _ = held_up

    async def evaluate():
        client = AsyncClient(target, coalesce=True, timeout=20)
        waiting = [asyncio.create_task(call(client, n)) for n in range(10)]
        await asyncio.sleep(0.2)
        await client.close()
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert all(str(error) == "this client is closed" for error in asyncio.run(evaluate()))


def test_interrupted_leader_costs_a_try(target, monkeypatch):
    send, interrupted = GrpcWire.evaluate_together, threading.Event()

    async def interrupt(self, requests, deadline):
        if len(requests) > 1 and not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt
        return await send(self, requests, deadline)

    monkeypatch.setattr(GrpcWire, "evaluate_together", interrupt)
    outcomes = []

    def evaluate(n: int) -> None:
        try:
            outcomes.append(call(client, n))
        except KeyboardInterrupt as error:
            outcomes.append(error)

    with Client(target, coalesce=True, retry=Retry(first_pause=0.01)) as client:
        client.ping()
        threads = [threading.Thread(target=evaluate, args=(n,)) for n in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(isinstance(outcome, KeyboardInterrupt) for outcome in outcomes) == interrupted.is_set()
    assert len(outcomes) == 50


@pytest.mark.parametrize("answer", [b"\xff", b""], ids=["no message", "no results"])
@pytest.mark.parametrize("how", ["threads", "tasks"])
def test_wrong_pack_answer_is_internal(monkeypatch, how, answer):
    async def wrong(*_):
        return answer

    monkeypatch.setattr(LossService, "BatchEvaluate", wrong)
    with serving() as server:
        if how == "tasks":
            outcomes = in_tasks(target_of(server))
        else:
            with Client(target_of(server), coalesce=True) as client:
                outcomes = in_threads(client, error_or_result)
    assert any(isinstance(outcome, InternalError) for outcome in outcomes)
    assert all(isinstance(outcome, InternalError | Result) for outcome in outcomes)


def error_or_result(client, n: int):
    try:
        return call(client, n)
    except LosswireError as error:
        return error
