"""What arrives is counted while it does. The thread that looks is the test itself."""

import asyncio
import logging
import threading

import pytest
from prometheus_client import CollectorRegistry

from losswire_server.calls.admission import Admission
from losswire_server.calls.limits import UNLIMITED
from losswire_server.errors import OverloadedError
from losswire_server.metrics.connections import ConnectionMetrics
from losswire_server.process.allocator import FreedMemory
from losswire_server.rpc.receiving import arrivals
from losswire_server.rpc.receiving.arrivals import COPIES, FIND_SECONDS, ON_ITS_WAY_SECONDS, STALLED_SECONDS, Arrivals
from losswire_server.rpc.receiving.connections import Connections
from tests.helpers import eventually
from tests.server.rpc.receiving.waiting import MIB, Clock, FakeCall, FakeSockets, ended_by

BUDGET = 50 * COPIES * MIB


class Scene:
    """Callers whose bytes come when the test says so."""

    def __init__(self, lookahead_bytes: int = 4 * MIB) -> None:
        self.clock, self.sockets, self.registry = Clock(), FakeSockets(), CollectorRegistry()
        self.admission = Admission(BUDGET, self.clock)
        self.connections = Connections(self.admission, UNLIMITED, lookahead_bytes=lookahead_bytes)
        counted = self.clock, ConnectionMetrics(self.registry)
        self.arrivals = Arrivals(self.admission, self.connections, self.sockets, *counted)  # type: ignore[arg-type]
        self.arrivals._wanted.set()  # no thread is started
        self.arrivals._loop = asyncio.get_running_loop()
        self._calls = 0

    def call(self, *, is_stream: bool = False, peer: str = "") -> FakeCall:
        self._calls += 1
        call = FakeCall(self.connections.of(peer or f"ipv4:10.0.0.1:{self._calls}"), is_stream=is_stream)
        self.arrivals.watch(call)
        self.clock.now += 0.001
        self.came(call, 0)
        return call

    def came(self, call: FakeCall, mib: float) -> None:
        endpoint = call.connection.endpoint
        assert endpoint is not None
        self.sockets.received[endpoint] = round(mib * MIB)

    async def look(self, seconds: float = ON_ITS_WAY_SECONDS) -> None:
        self.clock.now += seconds
        self.arrivals._look(self.clock.now)
        await asyncio.sleep(0)  # the event loop refuses calls

    @property
    def held(self) -> float:
        return self.admission.inflight_bytes / MIB


@pytest.fixture
def play():
    """Runs a test's coroutine with a scene, in an event loop."""

    def run(story, **options):
        async def told():
            return await story(Scene(**options))

        asyncio.run(told())

    return run


def refused(*calls: FakeCall) -> list[bool]:
    return [bool(call.refusals) for call in calls]


def test_what_came_is_held(play):
    async def story(scene):
        call = scene.call()
        for mib in (1, 10, 40):
            scene.came(call, mib)
            await scene.look()
            assert scene.held == COPIES * mib
        call.connection.came(40 * MIB)
        scene.arrivals.forget(call)
        assert scene.held == 0
        assert refused(call) == [False]

    play(story)


def test_message_that_has_just_begun_is_not_looked_at(play):
    async def story(scene):
        call = scene.call()
        scene.came(call, 10)
        await scene.look(ON_ITS_WAY_SECONDS / 2)
        assert scene.held == 0
        await scene.look(ON_ITS_WAY_SECONDS / 2)
        assert scene.held == COPIES * 10

    play(story)


def test_youngest_is_refused_first(play):
    async def story(scene):
        oldest, middle, youngest = calls = [scene.call() for _ in range(3)]
        for call in calls:
            scene.came(call, 15)
        await scene.look()
        assert refused(*calls) == [False] * 3
        scene.came(oldest, 21)
        await scene.look()
        assert refused(*calls) == [False, False, True]
        assert scene.held == COPIES * (21 + 15)
        await scene.look()
        assert len(youngest.refusals) == 1
        scene.came(middle, 40)  # there is nobody younger
        await scene.look()
        assert refused(*calls) == [False, True, True]
        (error,) = middle.refusals
        assert isinstance(error, OverloadedError)

    play(story)


def test_call_that_ended_meanwhile_is_not_refused(play):
    async def story(scene):
        call = scene.call()
        scene.came(call, 60)
        scene.clock.now += 1
        scene.arrivals._look(scene.clock.now)
        scene.arrivals.forget(call)  # its message came before the event loop could refuse it
        await asyncio.sleep(0)
        assert refused(call) == [False]

    play(story)


def test_stalled_message_makes_room(play):
    async def story(scene):
        stalled = scene.call()
        scene.came(stalled, 30)
        await scene.look()
        active = scene.call()
        for mib in (1, 10):
            scene.came(active, mib)
            await scene.look(STALLED_SECONDS / 3)
        assert refused(stalled, active) == [False, False]
        with pytest.raises(OverloadedError):
            scene.admission.reservation().resize(12 * COPIES * MIB)
        await asyncio.sleep(0)
        assert refused(stalled, active) == [False, False]
        await scene.look(STALLED_SECONDS / 2)
        with pytest.raises(OverloadedError):
            scene.admission.reservation().resize(12 * COPIES * MIB)
        await asyncio.sleep(0)
        assert refused(stalled, active) == [True, False]

    play(story)


def test_streams_are_held_though_they_do_not_fit(play):
    async def story(scene):
        others = scene.admission.reservation()
        others.resize(BUDGET - 2 * MIB)
        stream = scene.call(is_stream=True)
        scene.came(stream, 4)
        await scene.look()
        assert scene.held * MIB == BUDGET + 2 * MIB
        assert refused(stream) == [False]

    play(story)


def test_call_beside_streams_is_not_refused_for_what_is_read_ahead_of_them(play):
    async def story(scene):
        peer = "ipv4:10.0.0.9:9"
        stream, small = scene.call(peer=peer, is_stream=True), scene.call(peer=peer)
        others = scene.admission.reservation()
        others.resize(BUDGET - 13 * MIB)
        scene.came(stream, 12)  # which does not fit three times, as a unary message must
        await scene.look()
        assert scene.held * MIB == BUDGET - MIB
        assert refused(stream, small) == [False, False]

    play(story)


def test_slab_is_no_large_one_where_less_is_read_ahead(play):
    async def story(scene):
        stream, others = scene.call(is_stream=True), scene.admission.reservation()
        others.resize(BUDGET - 2 * MIB)
        scene.came(stream, 1.25)
        await scene.look()
        assert scene.held * MIB == BUDGET - 0.75 * MIB
        assert refused(stream) == [False]

    play(story, lookahead_bytes=MIB // 4)


def test_large_slabs_of_a_stream_are_held_as_other_messages_are(play):
    async def story(scene):
        old, young = scene.call(is_stream=True), scene.call(is_stream=True)
        small = scene.call(peer=young.connection.peer)
        scene.came(old, 40)
        await scene.look()
        assert scene.held == COPIES * 40
        scene.came(young, 20)
        await scene.look()
        assert refused(old, young, small) == [False, True, False]

    play(story)


def test_connection_is_ended_in_an_emergency(play, caplog):
    caplog.set_level(logging.WARNING)

    async def story(scene):
        others = scene.admission.reservation()
        others.resize(BUDGET - 50 * MIB)
        old, young = scene.call(), scene.call()
        scene.came(old, 10)
        scene.came(young, 65)
        scene.clock.now += 1
        scene.arrivals._look(scene.clock.now)  # and the event loop is busy
        assert scene.sockets.ended == [young.connection.endpoint]
        assert ended_by(scene.registry, "memory") == 1
        assert young.connection.held.size == 0

    play(story)
    assert [record.getMessage() for record in caplog.records] == ["connection ended, since more came than fits"]


def test_stream_is_refused_in_an_emergency(play):
    async def story(scene):
        others = scene.admission.reservation()
        others.resize(BUDGET - 10 * MIB)
        stream = scene.call(is_stream=True)
        scene.came(stream, 40)
        await scene.look()
        assert refused(stream) == [True]
        assert scene.sockets.ended == []  # other calls may be on its connection
        assert ended_by(scene.registry, "memory") == 0

    play(story)


def test_calls_of_one_connection_are_counted_once(play):
    async def story(scene):
        calls = [scene.call(peer="ipv4:10.0.0.9:9") for _ in range(3)]
        scene.came(calls[0], 10)
        await scene.look()
        assert scene.held == COPIES * 10
        calls[0].connection.came(10 * MIB)
        for call in calls:
            scene.arrivals.forget(call)
        assert scene.held == 0

    play(story)


def test_connections_are_found_and_forgotten(play):
    async def story(scene):
        call = scene.call()
        del scene.sockets.received[call.connection.endpoint]
        await scene.look()
        assert scene.sockets.looks == 1  # at once, since it is not known
        scene.came(call, 1)
        await scene.look()
        assert scene.sockets.looks == 1
        scene.arrivals.forget(call)
        scene.sockets.received.clear()
        await scene.look(FIND_SECONDS)
        assert scene.sockets.looks == 2
        assert len(scene.connections) == 0

    play(story)


def test_local_callers_have_no_endpoint(play):
    async def story(scene):
        call = FakeCall(scene.connections.of("unix:"))
        scene.arrivals.watch(call)
        await scene.look()
        assert scene.sockets.looks == 0
        assert refused(call) == [False]

    play(story)


def test_thread_looks_while_calls_are_watched():
    async def story() -> threading.Thread:
        clock, sockets = Clock(), FakeSockets()
        admission = Admission(BUDGET)
        connections = Connections(admission, UNLIMITED)
        arrivals = Arrivals(admission, connections, sockets)  # type: ignore[arg-type]
        call = FakeCall(connections.of("ipv4:10.0.0.1:1"))
        endpoint = call.connection.endpoint
        assert endpoint is not None
        sockets.received[endpoint] = 10 * MIB
        arrivals.watch(call)
        await asyncio.to_thread(eventually, lambda: admission.inflight_bytes == COPIES * 10 * MIB)
        arrivals.forget(call)
        await asyncio.to_thread(eventually, lambda: not arrivals._wanted.is_set())
        arrivals.close()
        assert clock.now
        assert admission.inflight_bytes == 0
        return arrivals._thread

    assert not asyncio.run(story()).is_alive()


def test_freed_memory_is_given_back_when_it_is_asked_for(monkeypatch):
    """And not only now and then: what is left of a large message would lie beside its answer."""
    monkeypatch.setattr(arrivals, "LOOK_SECONDS", 60.0)
    given_back = threading.Event()
    monkeypatch.setattr(FreedMemory, "give_back", lambda _: given_back.set())

    async def told():
        admission = Admission(BUDGET)
        connections = Connections(admission, UNLIMITED)
        watching = Arrivals(admission, connections, FakeSockets())  # type: ignore[arg-type]
        watching.watch(FakeCall(connections.of("ipv4:10.0.0.1:1")))
        watching.give_back()
        assert given_back.wait(20)
        watching.close()

    asyncio.run(told())
