"""Calls with large messages take turns on the event loop."""

import asyncio
import time

from losswire_server.calls.turns import LARGE_BYTES, OwnTurns, Turns


def call(shared: Turns, message_bytes: int = LARGE_BYTES + 1, seconds: float = 20) -> OwnTurns:
    """The turns of a call whose last message had so many bytes."""
    own = OwnTurns(shared, seconds)
    own.learn(message_bytes)
    return own


def test_one_large_stream_goes_on_at_a_time():
    order = []

    async def pass_through(own: OwnTurns, name: str) -> None:
        for step in range(3):
            await own.next()
            order.append((name, step))
            await asyncio.sleep(0)
        own.end()

    async def all_of_them() -> None:
        shared = Turns()
        await asyncio.gather(*(pass_through(call(shared), name) for name in "abc"))
        await asyncio.wait_for(call(shared).next(), 20)

    asyncio.run(all_of_them())
    assert order == [(name, step) for step in range(3) for name in "abc"]


def test_small_messages_need_no_turn():
    async def pass_by() -> None:
        shared = Turns()
        await call(shared).next()
        for _ in range(100):
            await asyncio.wait_for(call(shared, LARGE_BYTES).next(), 0.001)

    asyncio.run(pass_by())


def test_turn_ends_by_itself():
    async def wait_for_the_next() -> float:
        shared = Turns()
        silent, next_one = call(shared, seconds=0.01), call(shared)
        await silent.next()
        start = time.monotonic()
        await asyncio.wait_for(next_one.next(), 20)
        silent.end()  # of a turn that is over already: it ends no other
        assert shared._is_taken
        return time.monotonic() - start

    assert 0.005 < asyncio.run(wait_for_the_next()) < 10


def test_who_leaves_while_it_waits_gives_its_turn_to_the_next():

    async def leave() -> None:
        shared = Turns()
        first, second, third = (call(shared) for _ in range(3))
        await first.next()
        waiting = [asyncio.create_task(own.next()) for own in (second, third)]
        await asyncio.sleep(0)
        first.end()  # the second has its turn, and leaves before it hears of it
        waiting[0].cancel()
        await asyncio.wait_for(waiting[1], 20)
        third.end()
        assert not shared._is_taken

    asyncio.run(leave())


def test_who_left_before_its_turn_is_passed_over():

    async def leave() -> None:
        shared = Turns()
        first, second, third = (call(shared) for _ in range(3))
        await first.next()
        waiting = [asyncio.create_task(own.next()) for own in (second, third)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        first.end()
        await asyncio.wait_for(waiting[1], 20)

    asyncio.run(leave())
