"""Runs that are watched while they change, and while servers and clients come and go."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from losswire_client import Client, InternalError, LosswireError, NotFoundError
from tests.client.runs.batches import LOGITS, TARGET, shards
from tests.client.runs.relay import Refusal
from tests.client.runs.test_failures import FAST, unavailable
from tests.helpers import eventually, serving


def test_watch_ends_with_the_run(keeper, name):
    run, seen = keeper.run(name), []
    for state, (key, shard) in zip(run.watch(interval=0.1), shards().items(), strict=False):
        seen.append(state.key_count)
        run.evaluate(*shard, key=key)
    assert seen == [0, 1, 2, 3, 4]
    states = run.watch(interval=0.1)
    assert next(states).key_count == 5
    run.finish(count=5)
    assert [state.is_finished for state in states] == [True]
    assert [state.is_finished for state in run.watch()] == [True]


def test_watch_goes_on_when_the_server_is_back(tmp_path):
    kept = str(tmp_path / "runs.db")
    with serving(runs=kept, grace_seconds=0) as server:
        client = Client(f"127.0.0.1:{server.port}", timeout=20)
        run = client.run("val")
        states = run.watch(interval=0.1)
        assert next(states).key_count == 0
    with client, serving(runs=kept, port=server.port):
        run.evaluate(LOGITS, TARGET, key="a")
        run.finish(count=1)
        assert [(state.key_count, state.is_finished) for state in states][-1] == (1, True)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_watch_goes_on_after_its_call(relay, through, name, code):
    with through(retry=FAST) as client:
        run = client.run(name)
        states = run.watch(interval=0.1)
        assert next(states).key_count == 0
        run.evaluate(LOGITS, TARGET, key="a")
        relay.refusals[:] = [Refusal(code, "the server stops"), unavailable()]
        relay.watches[0].cancel()
        assert next(states).key_count == 1
        assert relay.refusals == []


def test_watch_tells_other_errors(relay, through, name):
    with through() as client:
        states = client.run(name).watch(interval=0.1)
        next(states)
        relay.refusals[:] = [Refusal(grpc.StatusCode.INTERNAL, "a fault")]
        relay.watches[0].cancel()
        with pytest.raises(InternalError, match="a fault"):
            next(states)
        assert list(states) == []


def test_watch_of_a_run_that_is_deleted_ends(keeper, name):
    run = keeper.run(name)
    states = run.watch(interval=0.1)
    next(states)
    run.delete()
    with pytest.raises(NotFoundError, match=f"there is no run {name!r}"):
        next(states)


def test_watch_that_is_left_ends_its_call(relay, through, name):
    with through() as client:
        states = client.run(name).watch()
        next(states)
        assert len(relay.watches) == 1
        states.close()
        eventually(lambda: not relay.watches)
        for _ in itertools.islice(client.get_run(name).watch(), 1):
            assert len(relay.watches) == 1
        eventually(lambda: not relay.watches)


def test_watch_of_a_client_that_is_closed_ends(relay, through, name):
    client = through(retry=None)
    states = client.run(name).watch()
    next(states)
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(list, states)
        client.close()
        with pytest.raises(LosswireError, match="this client is closed"):
            left.result(20)
    eventually(lambda: not relay.watches)
