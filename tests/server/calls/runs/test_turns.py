"""Large calls with keys, which take turns on the event loop, wait for the database together."""

import asyncio

import grpc

from losswire.v1 import loss_service_pb2_grpc, run_service_pb2_grpc
from losswire_server.rpc import call as module
from losswire_server.runs.runs import Runs
from tests.helpers import serving
from tests.server.calls.runs.keyed import create, keyed

CALLS = 4
ROWS = 8192  # of so many bytes that a message needs a turn


def test_large_calls_are_committed_together(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CALL_SECONDS", 3600.0)  # no turn ends by itself
    commit, there = Runs.commit, asyncio.Barrier(CALLS)

    async def commit_together(store, entries):
        await there.wait()
        return await commit(store, entries)

    with (
        serving(runs=str(tmp_path / "runs.db")) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        create(run_service_pb2_grpc.RunServiceStub(channel), "run")
        losses = loss_service_pb2_grpc.LossServiceStub(channel)
        losses.Evaluate(keyed("run", "first", rows=ROWS))  # from now on the connection is known for large messages
        monkeypatch.setattr(Runs, "commit", commit_together)
        calls = [losses.Evaluate.future(keyed("run", str(n), rows=ROWS), timeout=20) for n in range(CALLS)]
        assert [call.result().was_counted for call in calls] == [False] * CALLS
