"""Coroutines over a wire that blocks. They end without an event loop."""

import asyncio

import pytest

from losswire_client._flow import run


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
