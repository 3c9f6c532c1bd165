"""Calls whose large messages wait take turns, and may leave at any moment."""

import asyncio

from tests.server.rpc.receiving.intake_scene import BUDGET, LARGEST, begun, play, turns_of


def test_connections_take_turns():
    async def story(scene):
        busy = [scene.call() for _ in range(2)]
        turns_of(scene, *busy)
        many = turns_of(scene, *[scene.call(peer="ipv4:10.0.0.2:1") for _ in range(3)])
        await begun()
        (other,) = turns_of(scene, scene.call(peer="ipv4:10.0.0.2:2"))
        await begun()
        scene.intake.end(busy[0], LARGEST)
        assert await begun(*many, other) == [True, False, False, False]
        scene.intake.end(busy[1], LARGEST)
        assert await begun(*many, other) == [True, False, False, True]
        for turn in many:
            turn.cancel()

    play(story)


def test_who_leaves_while_it_waits_is_passed_over():
    async def story(scene):
        busy = [scene.call() for _ in range(2)]
        turns_of(scene, *busy)
        left, stays = turns = turns_of(scene, scene.call(), scene.call())
        assert await begun(*turns) == [False, False]
        left.cancel()
        scene.intake.end(busy[0], LARGEST)
        assert await begun(stays) == [True]
        assert not scene.intake._waiting

    play(story)


def test_many_that_leave_at_once_are_forgotten_at_once():
    async def story(scene):
        turns_of(scene, *[scene.call() for _ in range(2)])
        left = turns_of(scene, *[scene.call(peer="ipv4:10.0.0.2:1") for _ in range(100)])
        assert not any(await begun(*left))
        for turn in left:
            turn.cancel()
        await asyncio.wait(left)
        assert not scene.intake._waiting

    play(story)


def test_next_one_waits_until_what_came_is_held():
    async def story(scene):
        first, second = [scene.call() for _ in range(2)]
        turns = turns_of(scene, first, second, scene.call())
        assert await begun(*turns) == [True, True, False]
        evaluation = scene.admission.reservation()
        scene.intake.end(first, LARGEST)
        asyncio.get_running_loop().call_soon(evaluation.resize, BUDGET // 2)  # as the task does, woken next
        scene.intake._look()
        assert await begun(turns[2]) == [False]
        evaluation.close()
        assert await begun(turns[2]) == [True]

    play(story)


def test_new_one_waits_until_what_came_is_held():
    async def story(scene):
        first, second = [scene.call() for _ in range(2)]
        turns_of(scene, first, second)
        await begun()
        evaluation = scene.admission.reservation()
        scene.intake.end(first, LARGEST)
        asyncio.get_running_loop().call_soon(evaluation.resize, BUDGET // 2)  # as the task does, woken next
        (new,) = turns_of(scene, scene.call())
        assert await begun(new) == [False]
        evaluation.close()
        assert await begun(new) == [True]

    play(story)


def test_who_leaves_when_it_has_its_turn_does_not_keep_it():
    async def story(scene):
        first, second = [scene.call() for _ in range(2)]
        turns = turns_of(scene, first, second, scene.call(), scene.call())
        assert await begun(*turns) == [True, True, False, False]
        scene.intake.end(first, LARGEST)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        turns[2].cancel()
        assert await begun(turns[3]) == [True]
        assert not scene.intake._certain

    play(story)
