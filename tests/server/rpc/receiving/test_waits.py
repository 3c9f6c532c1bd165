"""Callers that take too long are cut off. Nobody waits: the clock is the test's."""

import asyncio
import logging

import pytest
from prometheus_client import CollectorRegistry

from losswire_server.calls.admission import Admission
from losswire_server.calls.limits import UNLIMITED
from losswire_server.calls.turns import Turns
from losswire_server.errors import TooSlowError
from losswire_server.metrics.connections import ConnectionMetrics
from losswire_server.rpc.receiving.arrivals import Arrivals
from losswire_server.rpc.receiving.connections import Connections
from losswire_server.rpc.receiving.lost_messages import LOST_SECONDS
from losswire_server.rpc.receiving.waits import FREED_BYTES, Waits
from tests.server.rpc.receiving.waiting import MIB, Clock, FakeCall, FakeSockets, ended_by

SEND, IDLE = 10.0, 40.0


class Scene:
    def __init__(self, send_seconds: float, idle_seconds: float) -> None:
        self.clock, self.sockets, self.registry = Clock(), FakeSockets(), CollectorRegistry()
        admission = Admission(2**20)
        self.connections = Connections(admission, UNLIMITED)
        self.waits = Waits(
            admission,
            self.connections,
            self.sockets,  # type: ignore[arg-type]
            send_seconds,
            idle_seconds,
            Turns(),
            self.clock,
            metrics=ConnectionMetrics(self.registry),
        )

    def call(self, number: int = 1, *, is_stream: bool = False) -> FakeCall:
        call = FakeCall(self.connections.of(f"ipv4:10.0.0.1:{number}"), is_stream=is_stream)
        endpoint = call.connection.endpoint
        assert endpoint is not None
        self.sockets.received[endpoint] = 0
        return call

    def pass_seconds(self, seconds: float) -> None:
        self.clock.now += seconds
        self.waits._look()


@pytest.fixture
def play():
    """Runs a test's function with a scene, in an event loop."""

    def run(story, send_seconds: float = SEND, idle_seconds: float = IDLE):
        async def told():
            scene = Scene(send_seconds, idle_seconds)
            story(scene)
            scene.waits.close()

        asyncio.run(told())

    return run


@pytest.mark.parametrize("is_stream", [False, True], ids=["call", "stream"])
@pytest.mark.parametrize("others", [(SEND, IDLE), (2 * IDLE, IDLE)], ids=["send first", "idle first"])
def test_message_must_arrive_in_time(is_stream, others, play):
    send_seconds, idle_seconds = others
    most = idle_seconds if is_stream else send_seconds

    def story(scene):
        call, later = scene.call(is_stream=is_stream), scene.call(2, is_stream=is_stream)
        scene.waits.begin_receiving(call)
        scene.pass_seconds(most - 1)
        scene.waits.begin_receiving(later)
        assert call.refusals == []
        scene.pass_seconds(1.5)
        (error,) = call.refusals
        assert isinstance(error, TooSlowError)
        assert str(error) == f"a message took longer to arrive than the {most:g} seconds it may"
        assert later.refusals == []

    play(story, *others)


def test_streams_wait_longer_than_calls(play):
    def story(scene):
        stream, call = scene.call(is_stream=True), scene.call(2)
        scene.waits.begin_receiving(stream)
        scene.waits.begin_receiving(call)
        scene.pass_seconds(SEND)
        assert (len(stream.refusals), len(call.refusals)) == (0, 1)
        scene.pass_seconds(IDLE - SEND)
        assert len(stream.refusals) == 1

    play(story)


def test_message_in_time_begins_anew(play):
    def story(scene):
        stream = scene.call(is_stream=True)
        for _ in range(3):
            scene.waits.begin_receiving(stream)
            scene.pass_seconds(IDLE - 1)
            scene.waits.end_receiving(stream)
        scene.pass_seconds(10 * IDLE)
        assert stream.refusals == []

    play(story)


def test_connection_of_a_slow_reader_is_ended(play, caplog):
    caplog.set_level(logging.WARNING)

    def story(scene):
        slow, quick = scene.call(1), scene.call(2)
        scene.waits.begin_sending(slow)
        scene.waits.begin_sending(quick)
        scene.pass_seconds(SEND - 1)
        scene.waits.end_sending(quick)
        scene.pass_seconds(1)
        assert scene.sockets.ended == [slow.connection.endpoint]
        scene.pass_seconds(SEND)
        assert len(scene.sockets.ended) == 1  # once
        assert ended_by(scene.registry, "slow_reader") == 1

    play(story)
    assert [record.getMessage() for record in caplog.records] == ["connection ended, since its caller does not read"]


def test_each_answer_of_a_stream_has_its_own_time(play):
    def story(scene):
        stream = scene.call(is_stream=True)
        for _ in range(3):
            scene.waits.begin_sending(stream)
            scene.pass_seconds(SEND - 1)
            scene.waits.end_sending(stream)
        assert scene.sockets.ended == []

    play(story)


def test_nobody_is_looked_after_without_calls(play):
    def story(scene):
        assert scene.waits._timer is None
        call = scene.call()
        scene.waits.begin_sending(call)
        assert scene.waits._timer is not None
        scene.waits.end_sending(call)
        scene.pass_seconds(0.1)
        assert scene.waits._timer is None

    play(story)


def came(scene: Scene, call: FakeCall, size: int) -> None:
    assert call.connection.endpoint is not None
    scene.sockets.received[call.connection.endpoint] += size


def test_what_came_of_a_lost_message_is_forgotten(play):
    def story(scene):
        lost = scene.call()
        scene.waits.begin_receiving(lost)
        came(scene, lost, 30 * MIB)
        scene.waits.end_receiving(lost)
        scene.waits.lose(lost.connection)
        assert scene.waits._lost._ahead(lost.connection) == 0
        came(scene, lost, MIB)  # before its caller knows
        next_one = FakeCall(lost.connection)
        scene.waits.begin_receiving(next_one)
        scene.waits.end_receiving(next_one)
        assert scene.waits._lost._ahead(lost.connection) == 0

    play(story)


def test_what_came_of_a_lost_message_is_told_from_others_once_these_have_come(play):
    def story(scene):
        lost, other = scene.call(), scene.call()
        for call in (lost, other):
            scene.waits.begin_receiving(call)
        came(scene, lost, 30 * MIB)
        scene.waits.end_receiving(lost)
        scene.waits.lose(lost.connection)
        came(scene, other, MIB)
        assert scene.waits._lost._ahead(other.connection) == 31 * MIB
        other.connection.came(MIB)
        scene.waits.end_receiving(other)
        assert scene.waits._lost._ahead(other.connection) == 0

    play(story)


def take(scene: Scene, call: FakeCall, size: int) -> None:
    """The message of a call is complete."""
    call.connection.came(size)
    scene.waits.end_receiving(call, size)


def test_what_came_of_a_lost_message_is_forgotten_on_a_connection_that_never_rests(play):
    def story(scene):
        lost, other = scene.call(), scene.call()
        for call in (lost, other):
            scene.waits.begin_receiving(call)
        came(scene, lost, 30 * MIB)
        came(scene, other, MIB)
        scene.waits.end_receiving(lost)
        scene.waits.lose(lost.connection)
        late = FakeCall(other.connection)  # something of it had come, but the event loop was busy
        scene.waits.begin_receiving(late)
        scene.clock.now += LOST_SECONDS + 1
        last = FakeCall(other.connection)
        scene.waits.begin_receiving(last)
        came(scene, last, 3 * MIB)
        take(scene, other, MIB)
        assert scene.waits._lost._ahead(last.connection) > 30 * MIB
        take(scene, late, 0)
        assert scene.waits._lost._ahead(last.connection) == pytest.approx(3 * MIB, rel=0.01)
        assert lost.connection.lost_until > 0  # more may have come until a moment ago
        scene.waits.begin_receiving(FakeCall(last.connection))
        take(scene, last, 3 * MIB)
        assert scene.waits._lost._ahead(last.connection) < 2**14

    play(story)


def test_what_is_read_ahead_of_streams_is_not_lost(play):
    def story(scene):
        lost, stream = scene.call(), scene.call(is_stream=True)
        scene.waits.begin_stream(stream)
        scene.waits.begin_receiving(lost)
        came(scene, lost, 30 * MIB)
        scene.waits.end_receiving(lost)
        scene.waits.lose(lost.connection)
        scene.waits.begin_receiving(stream)
        scene.waits.end_receiving(stream)
        assert scene.waits._lost._ahead(stream.connection) == stream.connection.stream_bytes

    play(story)


def test_losses_of_connections_that_ended_are_forgotten(play):
    def story(scene):
        lost, stream = scene.call(), scene.call(is_stream=True)
        scene.waits.begin_stream(stream)
        scene.waits.begin_receiving(lost)
        came(scene, lost, 30 * MIB)
        scene.waits.end_receiving(lost)
        scene.waits.lose(lost.connection)
        assert scene.waits._lost._unsettled
        scene.sockets.received.clear()
        scene.waits.end_stream(stream)
        assert not scene.waits._lost._unsettled

    play(story)


def test_loss_is_forgotten_after_a_while(play):
    def story(scene):
        lost = scene.call()
        came(scene, lost, MIB)
        scene.waits.lose(lost.connection)
        assert lost.connection.lost_until > scene.clock.now
        scene.clock.now += LOST_SECONDS + 1
        scene.waits.begin_receiving(lost)
        scene.waits.end_receiving(lost)
        assert lost.connection.lost_until == 0

    play(story)


@pytest.mark.parametrize(("size", "times"), [(FREED_BYTES, 0), (FREED_BYTES + 1, 1)])
def test_memory_of_a_large_message_is_given_back_when_it_has_come(size, times, play, monkeypatch):
    given_back: list[Arrivals] = []
    monkeypatch.setattr(Arrivals, "give_back", lambda self: given_back.append(self))

    def story(scene):
        call = scene.call()
        scene.waits.begin_receiving(call)
        take(scene, call, size)
        assert len(given_back) == times

    play(story)
