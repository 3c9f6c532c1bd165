"""Runs whose service fails, or is told to be slow: what is sent again, and in how many pieces."""

import asyncio
import copy
import itertools
import logging
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.rpc import error_details_pb2

from losswire import v1
from losswire_client import (
    AsyncClient,
    AsyncRun,
    Client,
    DeadlineExceededError,
    InternalError,
    LosswireError,
    NotServedError,
    PreconditionError,
    ResourceExhaustedError,
    Retry,
    UnavailableError,
)
from tests.client.runs.batches import LOGITS, TARGET, shards
from tests.client.runs.fake_service import LIMITS
from tests.client.runs.fake_store import RefusedError
from tests.client.runs.test_exact import TRANSPORTS
from tests.helpers import eventually

FAST = Retry(first_pause=0.001, longest_pause=0.002)


def unavailable(*, milliseconds: int | None = 1) -> RefusedError:
    """As a server says it whose database is away, or else as gRPC says it."""
    retry = error_details_pb2.RetryInfo()
    if milliseconds is None:
        return RefusedError(grpc.StatusCode.UNAVAILABLE, "on its way")
    retry.retry_delay.FromMilliseconds(milliseconds)
    return RefusedError(grpc.StatusCode.UNAVAILABLE, "the database cannot be reached", retry)


CALLS = {
    "run": lambda client, name: client.run(name),
    "get_run": lambda client, name: client.get_run(name),
    "runs": lambda client, _: list(client.runs()),
    "evaluate": lambda client, name: client.get_run(name).evaluate(LOGITS, TARGET, key="b"),
    "missing": lambda client, name: client.get_run(name).missing(["a", "b", "c", "d"]),
    "keys": lambda client, name: list(client.get_run(name).keys()),
    "progress": lambda client, name: client.get_run(name).progress(),
    "result": lambda client, name: client.get_run(name).result(),
    "watch": lambda client, name: next(client.get_run(name).watch()),
    "finish": lambda client, name: client.get_run(name).finish(count=0),
    "delete": lambda client, name: client.get_run(name).delete(),
}


@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_sent_again(service, connect, keeper, name, call):
    keeper.run(name)
    with connect(retry=FAST) as client:
        service.refusals[:] = [unavailable(), unavailable(milliseconds=None)]
        CALLS[call](client, name)
    assert service.refusals == []


def test_lost_database_is_told_as_such(service, connect, keeper, name, caplog):
    run = keeper.run(name)
    service.refusals[:] = [unavailable()]
    with connect(retry=None) as client, pytest.raises(UnavailableError) as raised:
        client.get_run(name)
    assert (str(raised.value), raised.value.retry_seconds) == ("the database cannot be reached", 0.001)
    with caplog.at_level(logging.DEBUG, "losswire_client"):
        service.refusals[:] = [unavailable()]
        run.progress()
    assert "the database cannot be reached" in caplog.text
    assert "no server can be reached" not in caplog.text


@TRANSPORTS
def test_lost_answer_counts_nothing_twice(service, connect, name, options):
    with connect(**options, retry=FAST) as client:
        run = client.run(name)
        service.lost[:] = [unavailable(), unavailable(milliseconds=None)]
        assert run.cross_entropy(LOGITS, TARGET, key="a").was_counted
        assert run.cross_entropy(LOGITS[:9], TARGET[:9], key="b").was_counted is False
        assert run.result().key_count == 2


def test_conflict_in_a_pack_is_that_of_one(service, name):
    async def outcomes():
        async with AsyncClient(service.target, coalesce=True) as client, client.run(name) as run:
            await run.cross_entropy(LOGITS[:1], TARGET[:1], key="0")
            calls = [run.cross_entropy(LOGITS[n : n + 2], TARGET[n : n + 2], key=str(n)) for n in range(9)]
            return await asyncio.gather(*calls, return_exceptions=True)

    service.transports.clear()
    first, *others = asyncio.run(outcomes())
    assert first.counted.ignored_count + first.counted.row_count == 1
    assert [other.was_counted for other in others] == [False] * 8
    assert any(kind.startswith("pack of ") for kind in service.transports)


def test_many_keys_go_in_several_requests(service, keeper, name):
    run, wanted = keeper.run(name), [str(number) for number in range(10)]
    run.cross_entropy(LOGITS, TARGET, key="7")
    service.asked.clear()
    assert run.missing(key for key in wanted) == [key for key in wanted if key != "7"]
    assert [len(request.keys) for request in service.asked] == [3, 3, 3, 1]


@pytest.mark.parametrize(("count", "way"), [(LIMITS.max_request_keys, "keys"), (5, "key_count")])
def test_run_of_many_keys_is_finished_by_their_number(service, keeper, name, count, way):
    run = keeper.run(name)
    for key, shard in itertools.islice(shards().items(), count):
        run.evaluate(*shard, key=key)
    service.asked.clear()
    assert run.finish(list(shards())[:count] * 2).is_finished
    assert service.asked[-1].WhichOneof("expected") == way


def test_all_missing_keys_are_told_however_many(service, keeper, name):
    run, wanted = keeper.run(name), [str(number) for number in range(50)]
    service.asked.clear()
    with pytest.raises(PreconditionError, match="lacks 50 of 50 keys") as raised:
        run.finish(wanted)
    assert raised.value.missing == wanted
    assert not any(isinstance(request, v1.FinishRunRequest) for request in service.asked)


def test_quota_is_not_waited_for(service, connect):
    service.refusals[:] = [RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, "there are 3 runs already")]
    with connect(retry=FAST) as client, pytest.raises(ResourceExhaustedError, match="3 runs already") as raised:
        client.run("one-more")
    assert type(raised.value) is ResourceExhaustedError


def test_watch_goes_on_when_the_server_is_back(service, connect, name):
    with connect(retry=FAST) as client:
        run = client.run(name)
        states = run.watch(interval=0.1)
        assert next(states).key_count == 0
        for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            service.refusals[:] = [RefusedError(code, "the server stops"), unavailable()]
            run.evaluate(LOGITS, TARGET, key=code.name)
            assert next(states).key_count >= 1
        run.finish(count=2)
        assert [state.is_finished for state in states][-1]


def test_watch_tells_other_errors(service, keeper, name):
    states = keeper.run(name).watch(interval=0.1)
    next(states)
    service.refusals[:] = [RefusedError(grpc.StatusCode.INTERNAL, "a fault")]
    with pytest.raises(InternalError, match="a fault"):
        next(states)
    assert list(states) == []


def test_watch_that_is_left_ends_its_call(service, keeper, name):
    eventually(lambda: service.watchers == 0)
    states = keeper.run(name).watch()
    next(states)
    assert service.watchers == 1
    states.close()
    eventually(lambda: service.watchers == 0)
    for _ in keeper.get_run(name).watch():
        break
    eventually(lambda: service.watchers == 0)


def test_watch_of_a_client_that_is_closed_ends(service, connect, name):
    client = connect(retry=None)
    states = client.run(name).watch()
    next(states)
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(list, states)
        client.close()
        with pytest.raises(LosswireError, match="this client is closed"):
            left.result(20)
    eventually(lambda: service.watchers == 0)


def test_first_state_comes_by_the_deadline(silent_target, keeper, name):
    run = copy.copy(keeper.run(name))
    with Client(silent_target, timeout=0.2, retry=None) as run._client, pytest.raises(DeadlineExceededError):
        next(run.watch())

    async def watch():
        async with AsyncClient(silent_target, timeout=0.2, retry=None) as client:
            await anext(AsyncRun(client, run._run, accuracy=True, series="").watch())

    with pytest.raises(DeadlineExceededError):
        asyncio.run(watch())


def test_server_without_runs_says_so(client):
    assert client.capabilities().run_limits is None
    with pytest.raises(NotServedError):
        client.run("val")
    with pytest.raises(NotServedError):
        list(client.runs())
