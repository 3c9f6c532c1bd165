"""Runs of a service in this process."""

import asyncio
import threading

import pytest

from losswire_client import NotFoundError, UnavailableError, testing
from tests.client.runs.batches import shards


@pytest.fixture
def here(tmp_path):
    with testing.Service(runs=str(tmp_path / "runs.db")) as service:
        yield service


def test_run_is_in_this_process(here, keeper, name):
    with here.client() as client, client.run(name, by_class=True) as run, keeper.run(name, by_class=True) as other:
        for key, shard in shards().items():
            assert run.evaluate(*shard, key=key, exact=True).exact == other.evaluate(*shard, key=key, exact=True).exact
        assert run.missing(["a", *shards()]) == ["a"]
        assert [key.key for key in run.keys(slice=None)] == list(shards())
        found = run.finish(shards())
        assert (found.sums, found.by_class) == (other.result().sums, other.result().by_class)
        assert [run.name for run in client.runs()] == [name]


def test_run_in_this_process_is_watched(here, name):
    with here.client() as client:
        run = client.run(name)
        states = run.watch(interval=0.1)
        assert not next(states).is_finished
        finishing = threading.Timer(0.05, run.finish, [[]])
        finishing.start()
        assert [state.is_finished for state in states] == [True]
        finishing.join()


def test_run_in_this_process_is_awaited(here, name):
    async def watched():
        async with here.async_client() as client, client.run(name) as run:
            await run.finish(count=0)
            return [state.is_finished async for state in run.watch()]

    assert asyncio.run(watched()) == [True]


def test_failures_of_a_run_in_this_process_are_those_of_any(here, name):
    with here.client(retry=None) as client:
        with pytest.raises(NotFoundError, match="there is no run"):
            client.get_run(name)
        here.fail_next(UnavailableError("on its way"))
        with pytest.raises(UnavailableError, match="on its way"):
            client.run(name)
