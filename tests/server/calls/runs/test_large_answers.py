"""Answers about runs, which may have thousands of keys, slices and classes, are not written on the event loop."""

import threading

import grpc
import pytest

from losswire import v1
from losswire.runs import check_name
from losswire.v1 import loss_service_pb2_grpc, run_service_pb2_grpc
from losswire_server.requests.runs.messages import key_messages, run_message
from tests.helpers import serving
from tests.server.calls.runs.keyed import create, keyed, plain_spec

MODULE = "losswire_server.calls.runs"
CALLS = {
    "CreateRun": v1.CreateRunRequest(name="run", spec=plain_spec()),
    "GetRun": v1.GetRunRequest(name="run"),
    "ListRuns": v1.ListRunsRequest(),
    "ListRunKeys": v1.ListRunKeysRequest(name="run"),
    "FinishRun": v1.FinishRunRequest(name="run", key_count=1),
}


@pytest.mark.parametrize("call", CALLS)
def test_answers_are_written_beside_the_event_loop(call, tmp_path, monkeypatch):
    threads = []

    def noted(write):
        def note(*arguments, **options):
            threads.append(threading.current_thread())
            return write(*arguments, **options)

        return note

    with (
        serving(runs=str(tmp_path / "runs.db")) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        runs = run_service_pb2_grpc.RunServiceStub(channel)
        create(runs, "run")
        loss_service_pb2_grpc.LossServiceStub(channel).Evaluate(keyed("run", "key"))
        monkeypatch.setattr(f"{MODULE}.run_message", noted(run_message))
        monkeypatch.setattr(f"{MODULE}.key_messages", noted(key_messages))
        getattr(runs, call)(CALLS[call])
        writer, *_ = threads
        threads.clear()
        monkeypatch.setattr(f"{MODULE}.check_name", noted(check_name))  # which is called on the event loop
        runs.GetRun(v1.GetRunRequest(name="run"))
        assert writer != threads[0]
