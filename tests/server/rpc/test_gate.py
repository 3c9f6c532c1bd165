"""New calls are refused with a reason before the server stops; no caller is told that it cancelled."""

import asyncio
import threading
import time

import grpc
import pytest

from ce_engine import EngineClosedError
from losswire.v1 import loss_service_pb2_grpc
from losswire_server.rpc.gate import LONGEST_SECONDS, Gate
from tests.helpers import call_of, serving
from tests.server.rpc.test_service import request

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def test_closed_gate_refuses_calls():
    gate = Gate()
    gate.enter()
    asyncio.run(gate.close(0))
    with pytest.raises(EngineClosedError):
        gate.enter()


async def closing_seconds(gate: Gate, calls: int) -> float:
    closing = asyncio.ensure_future(gate.close(60))
    began = time.monotonic()
    for _ in range(calls):
        await asyncio.sleep(0.02)
        if closing.done():
            break
        with pytest.raises(EngineClosedError):
            gate.enter()
    await closing
    return time.monotonic() - began


def test_closing_waits_for_quiet():
    assert asyncio.run(closing_seconds(Gate(), 0)) < LONGEST_SECONDS / 2


def test_closing_is_bounded():
    assert LONGEST_SECONDS * 0.5 < asyncio.run(closing_seconds(Gate(), 10_000)) < LONGEST_SECONDS * 5


def hammer(target: str, ends: list[grpc.RpcError]) -> None:
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = loss_service_pb2_grpc.LossServiceStub(channel)
        while True:
            try:
                stub.Evaluate(request(), timeout=20)
            except grpc.RpcError as error:
                ends.append(error)
                return


def test_stop_under_load_cancels_nobody():
    ends: list[grpc.RpcError] = []
    with serving() as server:
        target = f"127.0.0.1:{server.port}"
        threads = [threading.Thread(target=hammer, args=(target, ends)) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    assert {call_of(end).code() for end in ends} == {UNAVAILABLE}
    assert any(call_of(end).details() == "the server stops" for end in ends)
