"""Calls of runs that fail: what is sent again, and how the others are told."""

import asyncio
import copy
import logging

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2

from losswire_client import (
    AsyncClient,
    AsyncRun,
    Client,
    DeadlineExceededError,
    NotFoundError,
    NotServedError,
    ResourceExhaustedError,
    Retry,
    UnavailableError,
)
from tests.client.runs.batches import LOGITS, TARGET
from tests.client.runs.relay import Refusal
from tests.client.runs.test_exact import TRANSPORTS
from tests.client.wires.grpc_servers import answering
from tests.helpers import serving

FAST = Retry(first_pause=0.001, longest_pause=0.002)


def unavailable(*, milliseconds: int | None = 1) -> Refusal:
    """As a server says it whose database is away, or else as gRPC says it."""
    retry = error_details_pb2.RetryInfo()
    if milliseconds is None:
        return Refusal(grpc.StatusCode.UNAVAILABLE, "on its way")
    retry.retry_delay.FromMilliseconds(milliseconds)
    return Refusal(grpc.StatusCode.UNAVAILABLE, "the database cannot be reached", [retry])


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
def test_every_call_is_sent_again(relay, through, keeper, name, call):
    keeper.run(name)
    with through(retry=FAST) as client:
        relay.refusals[:] = [unavailable(), unavailable(milliseconds=None)]
        CALLS[call](client, name)
    assert relay.refusals == []


def test_lost_database_is_told_as_such(relay, through, name, caplog):
    with through(retry=FAST) as client:
        run = client.run(name)
        relay.refusals[:] = [unavailable()]
        with caplog.at_level(logging.DEBUG, "losswire_client"):
            run.progress()
    assert "the database cannot be reached" in caplog.text
    assert "no server can be reached" not in caplog.text
    relay.refusals[:] = [unavailable()]
    with through(retry=None) as client, pytest.raises(UnavailableError) as raised:
        client.get_run(name)
    assert (str(raised.value), raised.value.retry_seconds) == ("the database cannot be reached", 0.001)


@TRANSPORTS
def test_lost_answer_counts_nothing_twice(relay, through, name, options):
    with through(**options, retry=FAST) as client:
        run = client.run(name)
        relay.lost[:] = [unavailable(), unavailable(milliseconds=None)]
        assert run.cross_entropy(LOGITS, TARGET, key="a").was_counted
        assert run.cross_entropy(LOGITS[:9], TARGET[:9], key="b").was_counted is False
        assert run.result().key_count == 2


def test_lost_answer_to_a_deletion_is_no_error(relay, through, keeper, name):
    run = keeper.run(name)
    with through(retry=FAST) as client:
        relay.lost[:] = [unavailable()]
        client.get_run(name).delete()
        assert relay.lost == []
        with pytest.raises(NotFoundError):
            run.delete()


def test_conflict_in_a_pack_is_that_of_one(relay, name):
    async def outcomes():
        async with AsyncClient(relay.target, coalesce=True) as client, client.run(name) as run:
            await run.cross_entropy(LOGITS[:1], TARGET[:1], key="0")
            calls = [run.cross_entropy(LOGITS[n : n + 2], TARGET[n : n + 2], key=str(n)) for n in range(9)]
            return await asyncio.gather(*calls, return_exceptions=True)

    first, *others = asyncio.run(outcomes())
    assert first.counted.ignored_count + first.counted.row_count == 1
    assert [other.was_counted for other in others] == [False] * 8
    assert any(kind.startswith("pack of ") for kind in relay.transports)


def test_quota_is_not_waited_for(tmp_path):
    with (
        serving(runs=str(tmp_path / "runs.db"), max_runs=1) as server,
        Client(f"127.0.0.1:{server.port}", retry=FAST) as client,
    ):
        client.run("one")
        with pytest.raises(ResourceExhaustedError, match="there are 1 runs") as raised:
            client.run("one-more")
    assert type(raised.value) is ResourceExhaustedError


def test_quota_of_classes_is_that_of_runs_alone(tmp_path):
    logits, target = np.zeros((3, 4), np.float32), np.arange(3)
    with (
        serving(runs=str(tmp_path / "runs.db"), max_run_classes=2) as server,
        Client(f"127.0.0.1:{server.port}", retry=FAST) as client,
    ):
        by_class = client.cross_entropy(logits, target, exact="by_class").exact_by_class
        assert by_class is not None
        assert list(by_class) == [0, 1, 2]
        run = client.run("classes", by_class=True)
        assert run.evaluate(logits[:2], target[:2], key="two").was_counted is False  # of inputs with four
        with pytest.raises(ResourceExhaustedError, match="may have no more than 2 classes"):
            run.evaluate(logits, target, key="three")


def test_first_state_comes_by_the_deadline(silent_target, keeper, name):
    run = copy.copy(keeper.run(name))
    with Client(silent_target, timeout=0.2, retry=None) as run._client, pytest.raises(DeadlineExceededError):
        next(run.watch())

    async def watch():
        async with AsyncClient(silent_target, timeout=0.2, retry=None) as client:
            await anext(AsyncRun(client, run._run, accuracy=True, series="").watch())

    with pytest.raises(DeadlineExceededError):
        asyncio.run(watch())


def test_server_that_knows_no_runs_is_told_from_others():
    with answering() as server, Client(server.target) as client:
        for call in (lambda: client.run("val"), lambda: next(client.runs()), lambda: client.get_run("val")):
            with pytest.raises(NotServedError, match=f"{server.target} does not know this call, as if it were older"):
                call()


def test_server_without_runs_says_so(client):
    assert client.capabilities().run_limits is None
    with pytest.raises(NotServedError, match="keeps no runs"):
        client.run("val")
    with pytest.raises(NotServedError, match="keeps no runs"):
        list(client.runs())
