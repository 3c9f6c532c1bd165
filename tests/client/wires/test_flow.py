"""Coroutines over a wire that blocks. They end without an event loop."""

import asyncio

import pytest

from losswire_client._flow import each, run


async def gives(answer):
    return answer


async def fails(error):
    raise error


def test_what_a_coroutine_returns_comes_back():
    assert run(gives(3)) == 3
    assert run(gives(None)) is None


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt(), RuntimeError("StopIteration")])
def test_what_it_raises_is_raised_as_it_is(error):
    with pytest.raises(type(error)) as raised:
        run(fails(error))
    assert raised.value is error


def test_suspended_coroutine_is_a_fault():
    ended = []

    async def waits():
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(True)

    with pytest.raises(RuntimeError, match="a client that blocks has none"):
        run(waits())
    assert ended == [True]


async def counts(ended, error=None):
    try:
        for number in range(3):
            yield number
        if error:
            raise error
    finally:
        ended.append(True)


def test_items_come_one_by_one_and_end():
    ended: list[bool] = []
    items = each(counts(ended))
    assert [next(items), next(items), ended] == [0, 1, []]
    assert [*items, ended] == [2, [True]]


def test_items_that_are_left_end_what_gives_them():
    ended: list[bool] = []
    items = each(counts(ended))
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert ended == [True]


def test_items_end_with_the_error_of_what_gives_them():
    ended, seen, error = list[bool](), list[int](), ValueError("wrong")
    with pytest.raises(ValueError, match="wrong") as raised:
        seen.extend(each(counts(ended, error)))
    assert raised.value is error
    assert ended == [True]
