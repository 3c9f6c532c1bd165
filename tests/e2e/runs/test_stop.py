"""A server that is stopped while PostgreSQL hangs."""

import json
import signal
import subprocess
import sys
from typing import Any
from uuid import uuid4

import grpc
import pytest

from losswire import v1
from losswire.tensors import encode
from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire.v1.run_service_pb2_grpc import RunServiceStub
from losswire_client import Client
from losswire_server import launch
from tests.e2e.runs.workers import part
from tests.present import present
from tests.processes import started

COMMAND = [sys.executable, "-m", "losswire_server", "--port=0", "--no-metrics", "--log-format=json"]
NAME = "run"
SPEC = v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, nll_loss=v1.NllLoss())


def unkeyed(key: int) -> v1.EvaluateRequest:
    numbers, target = part(key)
    request = v1.EvaluateRequest(spec=SPEC)
    encode(numbers, request.input, "input")
    encode(target, request.target, "target")
    return request


def keyed(key: int) -> v1.EvaluateRequest:
    request = unkeyed(key)
    request.run_key.CopyFrom(v1.RunKey(run=NAME, key=str(key)))
    return request


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_server_stops_while_postgresql_hangs(database, processes):
    place = database.new_schema(f"test_{uuid4().hex}")
    options = ["--runs", place, "--grace-seconds=1", "--access-log-per-second=0", f"--processes={processes}"]
    with started([*COMMAND, *options], stderr=subprocess.PIPE, text=True) as process:
        lines = iter(present(process.stderr))
        target = next(entry for line in lines if (entry := json.loads(line))["event"] == "serving")["target"]
        with grpc.insecure_channel(target) as channel:
            runs, losses = RunServiceStub(channel), LossServiceStub(channel)
            runs.CreateRun(v1.CreateRunRequest(name=NAME, spec=SPEC))
            for key in range(5):
                losses.Evaluate(keyed(key))
            with database.frozen():
                waiting: list[Any] = [losses.Evaluate.future(keyed(key)) for key in range(5, 10)]
                waiting += [runs.GetRun.future(v1.GetRunRequest(name=NAME)) for _ in range(10)]
                waiting.append(runs.DeleteRun.future(v1.DeleteRunRequest(name="none")))
                answered = losses.Evaluate(unkeyed(0))  # all the others have been sent before
                process.send_signal(signal.SIGTERM)
                codes = {call.code() for call in waiting}
                assert process.wait(20) == 0
        events = [json.loads(line)["event"] for line in lines]
    assert answered.row_count
    assert codes == {grpc.StatusCode.UNAVAILABLE}
    assert events[-1] == "stopped"
    assert "stop takes too long" not in events  # as where it has to be ended by force
    with launch(runs=place, metrics=False) as running, Client(running.target) as client:
        run = client.get_run(NAME)
        assert all(run.nll_loss(*part(key), key=str(key)).was_counted for key in range(5))
        assert run.missing([str(key) for key in range(5)]) == []
