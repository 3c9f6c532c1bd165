"""New calls are refused with a reason before the server stops; no caller is told that it cancelled."""

import asyncio
import threading
import time
from collections.abc import Callable

import grpc
import pytest

from ce_engine import EngineClosedError
from losswire.v1 import loss_service_pb2_grpc
from losswire_server.rpc import gate as module
from losswire_server.rpc.gate import Gate
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


def test_closing_waits_for_quiet(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_SECONDS", 30.0)
    assert asyncio.run(closing_seconds(Gate(), 0)) < 15


@pytest.mark.slow
def test_closing_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.5)  # on a busy machine calls come with long pauses
    monkeypatch.setattr(module, "LONGEST_SECONDS", 2.0)
    assert 1.5 < asyncio.run(closing_seconds(Gate(), 10_000)) < 15


def hammer(target: str, answered: Callable[[], object], ends: list[grpc.RpcError]) -> None:
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = loss_service_pb2_grpc.LossServiceStub(channel)
        while True:
            try:
                stub.Evaluate(request(), timeout=60)
                answered()
            except grpc.RpcError as error:
                ends.append(error)
                return


def test_stop_under_load_cancels_nobody(monkeypatch):
    monkeypatch.setattr(module, "QUIET_SECONDS", 1.0)  # these callers share an interpreter, which makes them slow
    monkeypatch.setattr(module, "LONGEST_SECONDS", 20.0)
    ends: list[grpc.RpcError] = []
    callers = [threading.Event() for _ in range(8)]
    with serving() as server:
        target = f"127.0.0.1:{server.port}"
        threads = [threading.Thread(target=hammer, args=(target, caller.set, ends)) for caller in callers]
        for thread in threads:
            thread.start()
        assert all(caller.wait(60) for caller in callers)
    for thread in threads:
        thread.join()
    assert {call_of(end).code() for end in ends} == {UNAVAILABLE}
    assert any(call_of(end).details() == "the server stops" for end in ends)
