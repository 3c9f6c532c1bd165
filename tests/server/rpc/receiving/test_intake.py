"""Large messages are taken in while there is room for all of them."""

import asyncio

import pytest

from losswire_server.calls.admission import SILENT_SECONDS
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.rpc.receiving import intake
from losswire_server.rpc.receiving.arrivals import COPIES
from losswire_server.rpc.receiving.connections import FAST_BYTES, FAST_SECONDS
from losswire_server.rpc.receiving.intake import BEGUN_BYTES, LARGE_BYTES
from tests.server.rpc.receiving.intake_scene import BUDGET, LARGEST, LOOKAHEAD, begun, play, turns_of
from tests.server.rpc.receiving.waiting import MIB, FakeCall


def test_as_many_as_fit_are_taken_in_at_a_time():
    async def story(scene):
        calls = [scene.call() for _ in range(4)]
        turns = turns_of(scene, *calls)
        assert await begun(*turns) == [True, True, False, False]
        scene.intake.end(calls[1], LARGEST)
        assert await begun(*turns) == [True, True, True, False]
        scene.intake.end(calls[0], LARGEST)
        assert await begun(*turns) == [True] * 4

    play(story)


def test_small_messages_do_not_wait():
    async def story(scene):
        turns = turns_of(scene, *[scene.call() for _ in range(3)])
        assert not all(await begun(*turns))
        small = turns_of(scene, *[scene.call(LARGE_BYTES - 1) for _ in range(3)])
        assert await begun(*small) == [True] * 3
        turns[2].cancel()

    play(story)


def test_caller_that_sends_nothing_holds_up_nobody():
    async def story(scene):
        silent = turns_of(scene, *[scene.call(BEGUN_BYTES - 1) for _ in range(5)])
        assert await begun(*silent) == [True] * 5
        scene.clock.now += FAST_SECONDS  # the first two were taken for large
        large = turns_of(scene, *[scene.call() for _ in range(2)])
        assert await begun(*large) == [True] * 2

    play(story)


@pytest.mark.parametrize(("last_bytes", "is_taken_in"), [(0, False), (LARGEST, False), (LARGE_BYTES - 1, True)])
def test_message_of_which_hardly_anything_has_come_is_looked_at_again(last_bytes, is_taken_in):
    async def story(scene):
        turns_of(scene, *[scene.call() for _ in range(2)])
        late = scene.call(BEGUN_BYTES - 1)
        late.connection.last_bytes = last_bytes
        (turn,) = turns_of(scene, late)
        await asyncio.sleep(0)
        scene.came(late, LOOKAHEAD)
        assert await begun(turn) == [is_taken_in]
        turn.cancel()

    play(story)


def test_slow_caller_holds_up_others_for_a_moment_only():
    async def story(scene):
        first, second = [scene.call() for _ in range(2)]
        turns = turns_of(scene, first, second, scene.call())
        assert await begun(*turns) == [True, True, False]
        scene.clock.now += FAST_SECONDS * 0.9
        for fast in (first, second):
            scene.came(fast, 4 * MIB + FAST_BYTES)
            scene.count(fast.connection)
        scene.clock.now += FAST_SECONDS * 0.9
        assert await begun(turns[2]) == [False]
        scene.came(first, 4 * MIB + FAST_BYTES + 1)
        scene.count(first.connection)
        scene.clock.now += FAST_SECONDS * 0.2
        assert await begun(turns[2]) == [True]

    play(story)


def test_message_waits_while_evaluations_take_the_room():
    async def story(scene):
        evaluation = scene.admission.reservation()
        evaluation.resize(BUDGET * 15 // 16 - COPIES * LARGEST + 1)
        (turn,) = turns_of(scene, scene.call())
        assert await begun(turn) == [False]
        evaluation.close()
        assert await begun(turn) == [True]

    play(story)


def test_message_of_which_no_more_comes_takes_what_has_come():
    async def story(scene):
        evaluation = scene.admission.reservation()
        evaluation.resize(BUDGET * 15 // 16 - COPIES * 2 * MIB)
        fits, large = turns_of(scene, scene.call(2 * MIB), scene.call(LOOKAHEAD - MIB))
        await fits
        assert await begun(large) == [False]
        large.cancel()

    play(story)


def test_large_message_does_not_hold_up_smaller_ones():
    async def story(scene):
        evaluation = scene.admission.reservation()
        evaluation.resize(BUDGET * 15 // 16 - COPIES * 5 * MIB)
        large, small = turns_of(scene, scene.call(LOOKAHEAD), scene.call(2 * MIB))
        await small
        assert not large.done()
        large.cancel()

    play(story)


def test_message_is_taken_for_as_large_as_the_last_one():
    async def story(scene):
        evaluation = scene.admission.reservation()
        evaluation.resize(BUDGET * 15 // 16 - COPIES * 8 * MIB)
        as_before, unknown = [scene.call(LOOKAHEAD) for _ in range(2)]
        as_before.connection.last_bytes = 6 * MIB
        turns = turns_of(scene, as_before)
        assert await begun(*turns) == [True]
        scene.intake.end(as_before, 6 * MIB)
        turns = turns_of(scene, unknown)
        assert await begun(*turns) == [False]
        evaluation.close()
        assert await begun(*turns) == [True]

    play(story)


def test_silent_callers_make_room():
    async def story(scene):
        silent, ended = scene.admission.reservation(), []
        silent.resize(BUDGET * 15 // 16 - COPIES * LARGEST + 1)
        scene.admission.begin_silence(silent, lambda: ended.append(True))
        (turn,) = turns_of(scene, scene.call())
        assert await begun(turn) == [False]
        assert not ended
        scene.clock.now += SILENT_SECONDS
        assert await begun(turn) == [False]
        assert ended == [True]
        silent.close()
        assert await begun(turn) == [True]

    play(story)


def test_message_larger_than_the_budget_allows_has_its_turn_when_nothing_else_is_in_flight():
    async def story(scene):
        calls = [scene.call(LARGE_BYTES) for _ in range(2)]
        turns = turns_of(scene, *calls)
        assert await begun(*turns) == [True, False]
        scene.intake.end(calls[0], LARGEST)
        assert await begun(*turns) == [True, True]

    play(story, budget=LARGEST)


def test_message_that_waits_long_is_refused(monkeypatch):
    monkeypatch.setattr(intake, "MOST_SECONDS", 0.01)

    async def story(scene):
        turns = turns_of(scene, *[scene.call() for _ in range(3)])
        with pytest.raises(OverloadedError, match=f"of at most {BUDGET} bytes are in flight"):
            await turns[2]
        assert not scene.intake._waiting or await begun(turns[2])

    play(story)


def test_message_that_does_not_fit_is_refused_at_once():
    async def story(scene):
        evaluation = scene.admission.reservation()
        evaluation.resize(BUDGET - MIB)
        with pytest.raises(OverloadedError, match=f"{BUDGET - MIB} of at most {BUDGET} bytes are in flight"):
            await scene.turn(scene.call())

    play(story)


def test_message_that_never_fits_is_too_large():
    async def story(scene):
        scene.admission.reservation().resize(2 * MIB)
        with pytest.raises(TooLargeError, match="this call needs"):
            await scene.turn(scene.call())

    play(story, budget=4 * MIB)


def test_slab_larger_than_what_is_read_ahead_waits_and_is_not_refused(monkeypatch):
    monkeypatch.setattr(intake, "MOST_SECONDS", 1.5)

    async def story(scene):
        turns_of(scene, *[scene.call() for _ in range(2)])
        usual, large = scene.call(LOOKAHEAD - 1), scene.call(LOOKAHEAD)
        turns = [asyncio.ensure_future(scene.intake.turn_of_slab(call.connection)) for call in (usual, large)]
        assert await begun(*turns) == [True, False]
        await turns[1]

    play(story)


def test_unknown_connection_is_taken_for_large():
    async def story(scene):
        busy = [scene.call() for _ in range(2)]
        turns_of(scene, *busy)
        new = scene.call()
        del scene.sockets.received[new.connection.endpoint]
        (turn,) = turns_of(scene, new)
        assert await begun(turn) == [False]
        turn.cancel()

    play(story)


def test_caller_on_a_socket_of_this_machine_does_not_wait():
    async def story(scene):
        turns_of(scene, *[scene.call() for _ in range(2)])
        call = FakeCall(scene.connections.of("unix:/run/losswire.sock"))
        assert await begun(*turns_of(scene, call)) == [True]

    play(story)
