"""Runs of more keys than go in one message."""

import asyncio
from collections.abc import Iterator

import pytest

from losswire import v1
from losswire_client import AsyncClient, PreconditionError, Run
from tests.client.runs.batches import LOGITS, TARGET

MOST = 1000  # keys that the server takes in a request, and sends in a page
KEYS = [f"{number:04}" for number in range(MOST + 1)]


@pytest.fixture(scope="module")
def many(keeping) -> str:
    """The name of a run with these keys."""

    async def fill():
        async with AsyncClient(keeping, coalesce=True) as client, client.run("many") as run:
            await asyncio.gather(*(run.evaluate(LOGITS[:1], TARGET[:1], key=key) for key in KEYS))

    asyncio.run(fill())
    return "many"


@pytest.fixture
def run(through, many) -> Iterator[Run]:
    with through() as client:
        yield client.get_run(many)


def test_server_takes_so_many(keeper):
    assert keeper.capabilities().run_limits.max_request_keys == MOST


@pytest.mark.slow
def test_missing_keys_are_asked_for_in_several_requests(relay, run):
    wanted = [*(str(number) for number in range(2 * MOST)), *KEYS]
    assert run.missing(iter(wanted)) == [key for key in wanted if key not in set(KEYS)]
    asked = relay.requests("FindMissingKeys", v1.FindMissingKeysRequest)
    assert [len(request.keys) for request in asked] == [MOST, MOST, MOST, 1]


@pytest.mark.slow
def test_keys_come_page_by_page(relay, run):
    assert [key.key for key in run.keys(slice=None)] == KEYS
    assert len(relay.requests("ListRunKeys", v1.ListRunKeysRequest)) == 2


def test_runs_come_page_by_page(relay, through, keeper):
    for number in range(101):
        keeper.run(f"page/{number}")
    with through() as client:
        found = [run.name for run in client.runs(prefix="page/")]
    assert found == [f"page/{number}" for number in reversed(range(101))]
    assert len(relay.requests("ListRuns", v1.ListRunsRequest)) == 2


def test_all_missing_keys_are_told_however_many(relay, run):
    wanted = [f"other-{number}" for number in range(MOST + 1)]
    with pytest.raises(PreconditionError, match="lacks 1,001 of 1,001 keys; missing: 'other-0', ") as raised:
        run.finish(wanted)
    assert raised.value.missing == wanted
    assert not relay.requests("FinishRun", v1.FinishRunRequest)


def test_few_keys_are_sent_to_the_end(relay, run):
    with pytest.raises(PreconditionError, match="has 1 that was not expected") as raised:
        run.finish(KEYS[:-1] * 2)
    assert (raised.value.missing, raised.value.unexpected) == ([], KEYS[-1:])
    (request,) = relay.requests("FinishRun", v1.FinishRunRequest)
    assert list(request.keys.keys) == KEYS[:-1]


def test_run_of_many_keys_is_finished_by_their_number(relay, run):
    assert run.finish(KEYS * 2).is_finished
    (request,) = relay.requests("FinishRun", v1.FinishRunRequest)
    assert request.key_count == len(KEYS)
