"""Large messages are taken in one after the other while memory is short. What has come is what the test says."""

import asyncio

import pytest

from losswire_server.calls.admission import SILENT_SECONDS, Admission
from losswire_server.calls.limits import UNLIMITED
from losswire_server.errors import OverloadedError, TooLargeError
from losswire_server.rpc import intake as intake_module
from losswire_server.rpc.arrivals import COPIES
from losswire_server.rpc.connections import FAST_BYTES, FAST_SECONDS, Connection, Connections
from losswire_server.rpc.intake import BEGUN_BYTES, LARGE_BYTES, Intake
from tests.server.rpc.waiting import MIB, Clock, FakeCall, FakeSockets

LARGEST, LOOKAHEAD = 10 * MIB, 4 * MIB
BUDGET = 16 * 2 * COPIES * LARGEST // 15  # two of the largest messages, and what stays free


class Scene:
    def __init__(self, budget: int = BUDGET) -> None:
        self.clock, self.sockets = Clock(), FakeSockets()
        self.admission = Admission(budget, self.clock)
        self.connections = Connections(self.admission, UNLIMITED, lookahead_bytes=LOOKAHEAD)
        self.intake = Intake(self.admission, self.sockets, LARGEST, self.clock)  # type: ignore[arg-type]
        self._calls = 0

    def call(self, came: int = 4 * MIB, peer: str = "") -> FakeCall:
        """A call, of whose message so much has come."""
        self._calls += 1
        call = FakeCall(self.connections.of(peer or f"ipv4:10.0.0.1:{self._calls}"))
        call.connection.begin_receiving()
        self.came(call, came)
        return call

    def came(self, call: FakeCall, size: int) -> None:
        assert call.connection.endpoint is not None
        self.sockets.received[call.connection.endpoint] = size

    async def turn(self, call: FakeCall) -> None:
        """Waits as the server does, and begins to receive."""
        if not self.intake.takes(call.connection):
            await self.intake.turn(call.connection)
        self.intake.begin(call)

    def count(self, connection: Connection) -> None:
        """Has the thread that counts look."""
        endpoint = connection.endpoint
        assert endpoint is not None
        connection.count(lambda: self.sockets.received[endpoint], self.clock.now)


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(intake_module, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(intake_module, "KNOWN_SECONDS", 0.001)


def play(story, budget: int = BUDGET) -> None:
    async def told():
        await asyncio.wait_for(story(Scene(budget)), 20)

    asyncio.run(told())


async def begun(*turns: "asyncio.Task[None]") -> list[bool]:
    """Which of them have had their turn after a while."""
    await asyncio.sleep(0.05)
    return [turn.done() for turn in turns]


def turns_of(scene: Scene, *calls: FakeCall) -> list["asyncio.Task[None]"]:
    return [asyncio.ensure_future(scene.turn(call)) for call in calls]


def test_as_many_as_fit_are_taken_in_at_a_time():
    async def story(scene):
        calls = [scene.call() for _ in range(4)]
        turns = turns_of(scene, *calls)
        assert await begun(*turns) == [True, True, False, False]
        scene.intake.end(calls[1])
        assert await begun(*turns) == [True, True, True, False]
        scene.intake.end(calls[0])
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
        scene.intake.end(as_before)
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
        scene.intake.end(calls[0])
        assert await begun(*turns) == [True, True]

    play(story, budget=LARGEST)


def test_message_that_waits_long_is_refused(monkeypatch):
    monkeypatch.setattr(intake_module, "MOST_SECONDS", 0.01)

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


def test_connections_take_turns():
    async def story(scene):
        busy = [scene.call() for _ in range(2)]
        turns_of(scene, *busy)
        many = turns_of(scene, *[scene.call(peer="ipv4:10.0.0.2:1") for _ in range(3)])
        await begun()
        (other,) = turns_of(scene, scene.call(peer="ipv4:10.0.0.2:2"))
        await begun()
        scene.intake.end(busy[0])
        assert await begun(*many, other) == [True, False, False, False]
        scene.intake.end(busy[1])
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
        scene.intake.end(busy[0])
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


def test_slab_larger_than_what_is_read_ahead_waits_and_is_not_refused(monkeypatch):
    monkeypatch.setattr(intake_module, "MOST_SECONDS", 0.05)

    async def story(scene):
        turns_of(scene, *[scene.call() for _ in range(2)])
        usual, large = scene.call(LOOKAHEAD - 1), scene.call(LOOKAHEAD)
        turns = [asyncio.ensure_future(scene.intake.turn_of_slab(call.connection)) for call in (usual, large)]
        assert await begun(*turns) == [True, False]
        await turns[1]

    play(story)


def test_next_one_waits_until_what_came_is_held():
    async def story(scene):
        first, second = [scene.call() for _ in range(2)]
        turns = turns_of(scene, first, second, scene.call())
        assert await begun(*turns) == [True, True, False]
        evaluation = scene.admission.reservation()
        asyncio.get_running_loop().call_soon(evaluation.resize, BUDGET // 2)  # as the task of the first does
        scene.intake.end(first)
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
        asyncio.get_running_loop().call_soon(evaluation.resize, BUDGET // 2)  # as the task of the first does
        scene.intake.end(first)
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
        scene.intake.end(first)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        turns[2].cancel()
        assert await begun(turns[3]) == [True]
        assert not scene.intake._certain

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
