"""Callers may tell how large a message is, so that others of their connection do not make it wait. Some may lie."""

import asyncio

import grpc
import numpy as np
import pytest

from losswire import v1
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire.wire import MESSAGE_BYTES_KEY
from losswire_client import Client
from losswire_server.calls.admission import Admission
from losswire_server.calls.limits import UNLIMITED
from losswire_server.calls.turns import Turns
from losswire_server.errors import OverloadedError
from losswire_server.rpc.receiving import intake
from losswire_server.rpc.receiving.arrivals import COPIES
from losswire_server.rpc.receiving.connections import Connections
from losswire_server.rpc.receiving.waits import Waits
from losswire_server.settings.sizes import MOST_LOOKAHEAD_BYTES
from tests.client.wires.grpc_servers import answering
from tests.server.rpc.receiving.waiting import MIB, Clock, FakeCall, FakeSockets

LARGEST = 10 * MIB
SMALL = 1600


class Scene:
    """Calls of one connection. Those of others fill the memory."""

    def __init__(self) -> None:
        self.sockets = FakeSockets()
        admission = Admission(COPIES * LARGEST)
        admission.reservation().resize(COPIES * LARGEST // 2)
        self.connection = Connections(admission, UNLIMITED).of("ipv4:10.0.0.1:1")
        self.came(SMALL)
        sockets, turns = self.sockets, Turns()
        self.waits = Waits(
            admission,
            None,  # type: ignore[arg-type]
            sockets,  # type: ignore[arg-type]
            10.0,
            10.0,
            turns,
            Clock(),
            max_message_bytes=LARGEST,
        )

    def came(self, size: int) -> None:
        """So many bytes ever came over the connection."""
        assert self.connection.endpoint is not None
        self.sockets.received[self.connection.endpoint] = size

    def call(self, told_bytes: int | None, *, is_stream: bool = False) -> FakeCall:
        call = FakeCall(self.connection, is_stream=is_stream)
        call.told_bytes = told_bytes
        return call

    def waiting(self, call: FakeCall) -> "asyncio.Task[None]":
        return asyncio.ensure_future(self.waits.turn_to_receive(call))


@pytest.fixture
def play(monkeypatch):
    """Runs a test's function with a scene, in an event loop. Whoever waits is refused after a moment."""
    monkeypatch.setattr(intake, "MOST_SECONDS", 0.05)

    def run(story):
        async def told():
            scene = Scene()
            await asyncio.wait_for(story(scene), 20)
            scene.waits.close()

        asyncio.run(told())

    return run


def test_small_message_does_not_wait_behind_large_ones_of_its_connection(play):
    async def story(scene):
        large = scene.waiting(scene.call(LARGEST))
        await asyncio.sleep(0)
        scene.came(MOST_LOOKAHEAD_BYTES)
        await scene.waiting(scene.call(SMALL))
        with pytest.raises(OverloadedError):
            await scene.waiting(scene.call(None))
        with pytest.raises(OverloadedError):
            await large

    play(story)


def test_message_is_taken_in_if_there_is_room_for_what_was_told(play):
    async def story(scene):
        large = scene.waiting(scene.call(LARGEST))
        await asyncio.sleep(0)
        scene.came(MOST_LOOKAHEAD_BYTES)
        await scene.waiting(scene.call(LARGEST // 8))
        with pytest.raises(OverloadedError):
            await scene.waiting(scene.call(LARGEST // 2))
        with pytest.raises(OverloadedError):
            await large

    play(story)


def test_lie_is_not_believed_once_more_has_come(play):
    async def story(scene):
        scene.came(MOST_LOOKAHEAD_BYTES)
        with pytest.raises(OverloadedError):
            await scene.waiting(scene.call(SMALL))

    play(story)


def test_new_connection_is_not_believed(play):
    async def story(scene):
        scene.sockets.received.clear()
        with pytest.raises(OverloadedError):
            await scene.waiting(scene.call(SMALL))

    play(story)


@pytest.mark.parametrize("is_stream", [False, True], ids=["untold", "stream"])
def test_what_may_have_come_for_other_calls_is_no_lie(is_stream, play):
    async def story(scene):
        other = scene.call(None, is_stream=is_stream)
        if is_stream:
            scene.waits.begin_stream(other)
        else:
            scene.waits.begin_receiving(other)
        scene.came(7 * MIB)
        await scene.waiting(scene.call(SMALL))

    play(story)


@pytest.mark.parametrize("coalesce", [False, True], ids=["alone", "packed"])
def test_client_tells_the_size_of_its_messages(coalesce):
    with answering() as server, Client(server.target, transport="unary", coalesce=coalesce) as client:
        client.cross_entropy(np.zeros((3, 4), np.float32), np.zeros(3, np.int64))
    ((told, came),) = server.told
    assert told == str(came)


@pytest.mark.parametrize("told", ["", "-1", "many", "1e3", "9" * 400])
def test_what_is_no_size_is_ignored(target, told):
    request = v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy())
    )
    for tensor, dtype, shape, size in (
        (request.input, v1.Dtype.DTYPE_FLOAT32, (3, 4), 48),
        (request.target, v1.Dtype.DTYPE_INT64, (3,), 24),
    ):
        tensor.dtype, tensor.data = dtype, bytes(size)
        tensor.shape.extend(shape)
    with grpc.insecure_channel(target) as channel:
        response = LossServiceStub(channel).Evaluate(request, metadata=((MESSAGE_BYTES_KEY, told),), timeout=20)
    assert response.row_count == 3
