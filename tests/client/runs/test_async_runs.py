"""Runs that are awaited: the same as those that wait."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from losswire_client import AsyncClient, AsyncRun, InvalidArgumentError, NotFoundError, PreconditionError
from tests.client.runs.batches import LOGITS, TARGET, WEIGHT, shards


@pytest.fixture
def awaited(keeping) -> Callable[[Callable[[AsyncClient], Awaitable[Any]]], Any]:
    """What a coroutine function gives for a client that is awaited."""

    async def use(function):
        async with AsyncClient(keeping, timeout=20) as client:
            return await function(client)

    return lambda function: asyncio.run(use(function))


def test_awaited_run_has_the_same_bits(awaited, keeper, name):
    async def result(client):
        async with client.run(f"{name}-async", weight=WEIGHT, by_class=True) as run:
            calls = [run.cross_entropy(*shard, key=key, slice="web") for key, shard in shards().items()]
            await asyncio.gather(*calls)
            return await run.finish(shards())

    found = awaited(result)
    with keeper.run(name, weight=WEIGHT, by_class=True) as run:
        for key, shard in shards().items():
            run.cross_entropy(*shard, key=key, slice="web")
        expected = run.finish(shards())
    assert (found.sums, found.by_slice, found.by_class) == (expected.sums, expected.by_slice, expected.by_class)
    assert found.digest == expected.digest


def test_run_is_awaited_or_entered(awaited, name):
    async def kinds(client):
        run = await client.run(name)
        async with client.run(name) as entered, client.get_run(name) as found, await client.get_run(name) as both:
            return [type(each) for each in (run, entered, found, both)]

    assert awaited(kinds) == [AsyncRun] * 4


def test_run_that_is_not_awaited_says_so(awaited, name):
    async def forget(client):
        client.run(name).cross_entropy(LOGITS, TARGET, key="a")

    with pytest.raises(AttributeError, match=r"await it, as in `run = await client\.run"):
        awaited(forget)


def test_questions_are_awaited(awaited, name):
    async def answers(client):
        run = await client.run(name, expected_keys=5)
        for key, shard in shards().items():
            await run.evaluate(*shard, key=key)
        missing = await run.missing(["a", *shards(), "b"])
        keys = [key.key async for key in run.keys(slice=None)]
        runs = [each.name async for each in client.runs(name)]
        progress, result = await run.progress(), await run.result()
        await run.delete()
        return missing, keys, runs, progress.key_count, result.key_count

    assert awaited(answers) == (["a", "b"], list(shards()), [name], 5, 5)


def test_awaited_run_is_watched_while_it_grows(awaited, name):
    async def seen(client):
        run = await client.run(name)
        counts, keys = [], iter(shards().items())
        async for state in run.watch(interval=0.1):
            counts.append((state.key_count, state.is_finished))
            if key := next(keys, None):
                await run.evaluate(*key[1], key=key[0])
            elif not state.is_finished:
                await run.finish(count=5)
        return counts

    assert awaited(seen) == [*((number, False) for number in range(6)), (5, True)]


def test_errors_are_raised_when_awaited(awaited, name):
    async def attempt(client):
        run = await client.run(name)
        with pytest.raises(InvalidArgumentError, match=r"AsyncRun.evaluate\(\) missing"):
            await run.evaluate(LOGITS, TARGET)
        with pytest.raises(InvalidArgumentError, match="since the run has it"):
            await run.evaluate(LOGITS, TARGET, key="a", weight=None)
        with pytest.raises(InvalidArgumentError, match=r"AsyncClient.run\(\) got an unexpected keyword"):
            await client.run(name, label_smooth=0.1)
        with pytest.raises(PreconditionError):
            await run.finish(["a"])
        with pytest.raises(NotFoundError):
            await client.get_run(f"{name[:100]}-none")

    awaited(attempt)


def test_wrong_argument_of_a_generator_is_refused_at_once(awaited, name):
    async def attempt(client):
        run = await client.run(name)
        for ask in (lambda: client.runs(3), lambda: run.keys(3), lambda: run.watch(0)):
            with pytest.raises(InvalidArgumentError):
                ask()

    awaited(attempt)


def test_watch_that_is_cancelled_ends(awaited, name):
    async def attempt(client):
        run, began = await client.run(name), asyncio.Event()

        async def watch():
            async for _ in run.watch():
                began.set()

        task = asyncio.create_task(watch())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await run.progress()).key_count == 0

    awaited(attempt)
