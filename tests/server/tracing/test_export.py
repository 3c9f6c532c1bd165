"""The command sends traces and metrics where the OTEL_* variables say, and its log names the traces."""

import json
import os
import re
import socket
import sys
import threading
import time
import uuid
from typing import Any

import grpc
import numpy as np
import pytest
from opentelemetry import context, propagate

from losswire_client import Client
from losswire_server import launch
from losswire_server.main import main
from losswire_server.tracing import export
from tests.server.tracing.collector import collecting

BATCH = np.zeros((4, 10), np.float32), np.zeros(4, np.int64)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _no_variables_from_outside(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def call(target, parent=PARENT):
    with grpc.insecure_channel(target) as channel:
        method: Any = channel.unary_unary("/losswire.v1.LossService/GetCapabilities")
        method(b"", metadata=(("traceparent", parent),), timeout=20)


def evaluate(target):
    """Evaluates in the trace of the parent."""
    token = context.attach(propagate.extract({"traceparent": PARENT}))
    try:
        with Client(target) as client:
            client.cross_entropy(*BATCH)
    finally:
        context.detach(token)


def attributes(message):
    return {attribute.key: attribute.value.string_value for attribute in message.attributes}


@pytest.mark.slow
def test_traces_and_metrics_reach_a_collector(monkeypatch, capfd):
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "losses")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with launch(tracing=True, log_level="info") as server:
            call(server.target)
            evaluate(server.target)
        spans = {span.name: span for span in collector.all_spans()}
        resource = attributes(collector.spans[0].resource)
        (seconds,) = [metric for metric in collector.all_metrics() if metric.name == "rpc.server.call.duration"]
    received = spans["losswire.v1.LossService/GetCapabilities"]
    assert received.trace_id.hex() == PARENT.split("-")[1]
    assert received.parent_span_id.hex() == PARENT.split("-")[2]
    assert attributes(received)["rpc.status_code"] == "OK"
    assert {"read", "launch", "reply", "losswire.v1.LossService/Evaluate"} < spans.keys()
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("losses", "test")
    assert resource["service.version"]
    assert uuid.UUID(resource["service.instance.id"]).version == 4
    assert seconds.unit == "s"
    assert len(seconds.histogram.data_points) == 2
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line.get("method") == "GetCapabilities"]
    assert (line["trace_id"], line["span_id"]) == (PARENT.split("-")[1], received.span_id.hex())
    assert not any("trace_id" in line for line in lines if line["event"] != "call")


@pytest.mark.slow
def test_processes_of_a_server_are_told_apart(monkeypatch):
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-7")
        with launch(tracing=True, processes=2) as server:
            for _ in range(30):  # connections, of which the kernel gives each to either
                call(server.target)
        instances = {attributes(metrics.resource)["service.instance.id"] for metrics in collector.metrics}
    assert instances == {"pod-7-0", "pod-7-1"}


def test_instances_differ_unless_they_are_told(monkeypatch):
    made = [export._resource(place).attributes["service.instance.id"] for place in (None, 0, 1, 1)]
    assert len(set(made)) == 4
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-7")
    told = [export._resource(place).attributes["service.instance.id"] for place in (None, 0, 1)]
    assert told == ["pod-7", "pod-7-0", "pod-7-1"]


@pytest.mark.slow
def test_sampler_and_exporters_are_those_of_the_variables(monkeypatch):
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
        monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
        with launch(tracing=True) as server:
            call(server.target)
            call(server.target, PARENT[:-1] + "0")
        assert sum(span.name.endswith("GetCapabilities") for span in collector.all_spans()) == 1
        assert collector.metrics == []


@pytest.mark.slow
def test_collector_that_does_not_answer_holds_nothing_up(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with launch(tracing=True, stop_seconds=20) as server:
            start = time.monotonic()
            evaluate(server.target)
            assert time.monotonic() - start < 5
            start = time.monotonic()
        assert time.monotonic() - start < 15


def test_provider_that_does_not_end_is_left(monkeypatch):
    class Provider:
        shutdown = threading.Event().wait

    monkeypatch.setattr(export, "FLUSH_SECONDS", 0.1)
    start = time.monotonic()
    export._shut_down([Provider(), Provider()])
    assert 0.1 <= time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkn", "OTEL_TRACES_EXPORTER: expected otlp, none or one of .*, got 'zipkn'"),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "json",
            "OTEL_EXPORTER_OTLP_PROTOCOL: expected grpc or http/protobuf, got 'json'",
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "long", "tracing: an OTEL_.* variable cannot be used: .*long"),
    ],
)
def test_variable_that_cannot_be_used_ends_with_2(variable, value, said, monkeypatch, capfd):
    monkeypatch.setenv(variable, value)
    assert_refused(said, capfd)


def test_missing_extra_ends_with_2(monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "losswire_server.tracing.export", None)
    assert_refused(r"tracing: expected OpenTelemetry to be installed: .* pip install './server\[tracing\]'", capfd)


def assert_refused(said, capfd):
    with pytest.raises(SystemExit) as ended:
        main(["--tracing", "--port=0", "--metrics-port=0"])
    assert ended.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert re.search(f"^losswire-server: {said}", line), line
