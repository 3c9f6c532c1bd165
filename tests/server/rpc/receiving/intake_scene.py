"""Calls whose large messages wait until they may be taken in. What has come of them is what the test says."""

import asyncio
from unittest.mock import patch

from losswire_server.calls.admission import Admission
from losswire_server.calls.limits import UNLIMITED
from losswire_server.rpc.receiving import intake
from losswire_server.rpc.receiving.arrivals import COPIES
from losswire_server.rpc.receiving.connections import Connection, Connections
from losswire_server.rpc.receiving.intake import Intake
from tests.server.rpc.receiving.waiting import MIB, Clock, FakeCall, FakeSockets

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


def play(story, budget: int = BUDGET) -> None:
    """Runs a test's coroutine with a scene, in an event loop. Nobody waits long there."""

    async def told():
        await asyncio.wait_for(story(Scene(budget)), 20)

    with patch.multiple(intake, LOOK_SECONDS=0.001, KNOWN_SECONDS=0.001):
        asyncio.run(told())


async def begun(*turns: "asyncio.Task[None]") -> list[bool]:
    """Which of them have had their turn after a while, which is many steps of the event loop on any machine."""
    for _ in range(20):
        await asyncio.sleep(0.001)
    return [turn.done() for turn in turns]


def turns_of(scene: Scene, *calls: FakeCall) -> list["asyncio.Task[None]"]:
    return [asyncio.ensure_future(scene.turn(call)) for call in calls]
