"""Exact sums of evaluations without a run."""

import asyncio
import pickle
from functools import reduce
from operator import add

import numpy as np
import pytest

from losswire_client import AsyncClient, ExactSum, ExactSums, InvalidArgumentError
from tests.client.runs.batches import BATCHES, LOGITS, TARGET, WEIGHT, shards

TRANSPORTS = pytest.mark.parametrize(
    "options",
    [
        {"transport": "auto"},
        {"transport": "unary"},
        {"transport": "unary", "coalesce": True},
        {"transport": "stream"},
        {"transport": "shared_memory"},
    ],
    ids=["auto", "unary", "pack", "stream", "shared_memory"],
)


@TRANSPORTS
@pytest.mark.parametrize("loss", BATCHES)
def test_sums_of_shards_are_those_of_the_whole(connect, loss, options):
    with connect(**options) as client:
        evaluate = getattr(client, loss)
        whole = evaluate(*BATCHES[loss], exact=True, outputs=("predictions",)).exact
        parts = [evaluate(*shard, exact=True, outputs=("predictions",)).exact for shard in shards(loss).values()]
    assert reduce(add, parts) == reduce(add, reversed(parts)) == whole
    assert whole.statistics.accuracy is not None
    assert whole.statistics.nonfinite_count == 0


@TRANSPORTS
def test_sums_are_those_of_the_rows(connect, options):
    with connect(**options) as client:
        result = client.cross_entropy(LOGITS, TARGET, WEIGHT, reduction="none", exact="by_class")
    counted = TARGET != -100
    assert result.exact.loss == ExactSum.of(result.loss[counted])
    assert result.exact.weight == ExactSum.of(WEIGHT[TARGET[counted]])
    assert (result.exact.row_count, result.exact.ignored_count) == (counted.sum(), (~counted).sum())
    assert result.exact.correct_count is None
    assert result.exact_by_class.keys() == set(TARGET[counted])
    for number, sums in result.exact_by_class.items():
        assert sums.loss == ExactSum.of(result.loss[number == TARGET])
    assert not result.was_counted


def test_sums_come_only_if_asked_for(keeper):
    result = keeper.cross_entropy(LOGITS, TARGET)
    assert (result.exact, result.exact_by_class) == (None, None)
    result = keeper.cross_entropy(LOGITS, TARGET, exact=True)
    assert result.exact_by_class is None
    assert keeper.cross_entropy(LOGITS, np.full_like(TARGET, -100), exact="by_class").exact_by_class == {}


def test_sums_go_to_other_processes(keeper):
    exact = keeper.cross_entropy(LOGITS, TARGET, exact=True).exact
    assert pickle.loads(pickle.dumps(exact)) == exact
    assert ExactSums() + exact == exact


@pytest.mark.parametrize("exact", [None, 1, "by_row", "", ["by_class"]])
def test_other_kinds_of_sums_are_refused(keeper, exact):
    with pytest.raises(InvalidArgumentError, match=r"^exact: expected one of False, True, 'by_class', got"):
        keeper.cross_entropy(LOGITS, TARGET, exact=exact)


def test_batches_that_travel_together_have_their_own_sums(relay):
    async def sums():
        async with AsyncClient(relay.target, coalesce=True) as client:
            calls = [client.cross_entropy(LOGITS[n : n + 2], TARGET[n : n + 2], exact=True) for n in range(20)]
            return [result.exact for result in await asyncio.gather(*calls)]

    found = asyncio.run(sums())
    with_keys = [each.row_count for each in found]
    assert with_keys == [int((TARGET[n : n + 2] != -100).sum()) for n in range(20)]
    assert any(kind.startswith("pack of ") for kind in relay.transports)


def test_map_gives_exact_sums(connect):
    for coalesce in (False, True):
        with connect(coalesce=coalesce) as client:
            results = list(client.map(shards().values(), exact=True))
            assert (
                reduce(add, (result.exact for result in results))
                == client.cross_entropy(LOGITS, TARGET, exact=True).exact
            )
