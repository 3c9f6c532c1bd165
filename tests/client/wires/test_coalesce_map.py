"""Maps whose batches travel together."""

import asyncio
from typing import Any

import pytest

from losswire_client import (
    AsyncClient,
    InvalidArgumentError,
)
from tests.client.many.mapping import BOTH, mapped
from tests.client.wires.small_calls import LARGE, SMALL, assert_same, calls_of, target_of
from tests.helpers import serving


@BOTH
def test_map_keeps_order_and_bits(client, kind):
    with serving() as server:
        batches = [*SMALL[:50], LARGE, *SMALL[50:]]
        results = list(mapped(kind(target_of(server), coalesce=True), batches, window=16, grad=True))
        assert calls_of(server, "BatchEvaluate") + calls_of(server, "Evaluate") <= len(batches) // 8 + 2
    for batch, result in zip(batches, results, strict=True):
        assert_same(result, client.cross_entropy(*batch, grad=True))


@BOTH
def test_map_says_which_batch_is_wrong(target, kind):
    wrong = [*SMALL[:21], (SMALL[21][0], SMALL[21][1] + 7), *SMALL[22:]]
    results = mapped(kind(target, coalesce=True), wrong, window=8)
    assert [next(results).row_count for _ in range(21)] == [len(target) for _, target in SMALL[:21]]
    with pytest.raises(InvalidArgumentError, match="target: expected classes") as raised:
        next(results)
    assert raised.value.batch == 21


def test_awaited_map_takes_what_comes(target):
    async def batches():
        for batch in SMALL:
            await asyncio.sleep(0)
            yield batch

    assert sum(1 for _ in mapped(AsyncClient(target, coalesce=True), batches(), window=6)) == len(SMALL)


@BOTH
@pytest.mark.parametrize(("window", "expected"), [(1, 1), (2, 2), (6, 6), (7, 6)])
def test_map_takes_no_more_than_a_window_ahead(target, kind, window, expected):
    taken: list[int] = []

    def batches():
        for n in range(50):
            taken.append(n)
            yield SMALL[0]

    results: Any = mapped(kind(target, coalesce=True), batches(), window=window)
    next(results)
    assert len(taken) == expected
    results.close()
