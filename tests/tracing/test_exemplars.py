"""Exemplars lead from metrics to traces."""

import urllib.request

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from losswire import v1
from losswire.v1 import loss_service_pb2_grpc
from losswire_server import launch


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_traced_calls_leave_exemplars_in_the_metrics_of_all_processes(processes, monkeypatch):
    for kind in ("TRACES", "METRICS"):
        monkeypatch.setenv(f"OTEL_{kind}_EXPORTER", "none")
    traces = [f"{number + 1:032x}" for number in range(6)]  # one at a time over a connection of its own, to any process
    with launch(log_level="error", processes=processes, tracing=True) as server:
        for trace in traces:
            call(server.target, trace)
            assert found(server.metrics_url, trace) == {"grpc_server_handling_seconds", "losswire_stage_seconds"}


def call(target: str, trace: str) -> None:
    sampled = ("traceparent", f"00-{trace}-{1:016x}-01")
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = loss_service_pb2_grpc.LossServiceStub(channel)
        stub.GetCapabilities(v1.GetCapabilitiesRequest(), metadata=(sampled,))


def found(url: str, trace: str) -> set[str]:
    """The metrics that have an exemplar of a trace."""
    asked = urllib.request.Request(url, headers={"Accept": "application/openmetrics-text"})
    families = text_string_to_metric_families(urllib.request.urlopen(asked).read().decode())
    samples = [(family.name, sample.exemplar) for family in families for sample in family.samples]
    return {name for name, exemplar in samples if exemplar is not None and exemplar.labels == {"trace_id": trace}}
