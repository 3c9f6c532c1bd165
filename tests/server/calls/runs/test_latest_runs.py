"""The metrics of runs follow what other servers do."""

import asyncio
from unittest.mock import AsyncMock, Mock

import grpc
import pytest
from prometheus_client import CollectorRegistry

from losswire import v1
from losswire.v1 import loss_service_pb2_grpc, run_service_pb2_grpc
from losswire_server.calls import latest_runs
from losswire_server.calls.latest_runs import LatestRuns
from losswire_server.metrics.runs import RunMetrics
from losswire_server.runs.errors import StoreUnavailableError
from tests.helpers import eventually, serving
from tests.server.calls.runs.keyed import create, keyed


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Two servers that share a file: their metrics, and a channel to the second."""
    monkeypatch.setattr(latest_runs, "LOOK_SECONDS", 0.1)
    place = str(tmp_path / "runs.db")
    with (
        serving(runs=place) as one,
        serving(runs=place) as other,
        grpc.insecure_channel(f"127.0.0.1:{other.port}") as channel,
    ):
        yield one.registry, other.registry, channel


def shown(registry, name, run="r"):
    return registry.get_sample_value(f"losswire_run_{name}", {"run": run})


def test_server_shows_what_another_one_adds_finishes_and_deletes(two):
    ours, theirs, channel = two
    runs = run_service_pb2_grpc.RunServiceStub(channel)
    create(runs, "r", expected_key_count=1)
    eventually(lambda: shown(ours, "keys") == 0)
    loss_service_pb2_grpc.LossServiceStub(channel).Evaluate(keyed("r", "k"))
    assert shown(theirs, "keys") == 1  # at once: it is its own
    eventually(lambda: shown(ours, "keys") == 1)
    assert shown(ours, "mean_loss") == shown(theirs, "mean_loss")
    runs.FinishRun(v1.FinishRunRequest(name="r"))
    eventually(lambda: shown(ours, "finished") == shown(theirs, "finished") == 1)
    runs.DeleteRun(v1.DeleteRunRequest(name="r"))
    eventually(lambda: shown(ours, "keys") is shown(theirs, "keys") is None)


def test_lost_database_changes_nothing():
    metrics = RunMetrics(CollectorRegistry())
    lost = Mock(list=AsyncMock(side_effect=StoreUnavailableError("gone")))
    asyncio.run(LatestRuns(lost, metrics).look())
    assert metrics.shown == []
