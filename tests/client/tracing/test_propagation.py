"""What a program sends on without an SDK of OpenTelemetry, with an old version, or without OpenTelemetry."""

import sys

import pytest
from opentelemetry.trace import SpanKind

from tests.helpers import serving
from tests.processes import run
from tests.tracing.traces import traced

# Evaluates in the trace that came to the program, which has OpenTelemetry's API alone.
WITHIN_A_TRACE = """
import sys
sys.modules["opentelemetry.sdk"] = sys.modules["opentelemetry.exporter"] = None
from opentelemetry import context, propagate
context.attach(propagate.extract({"traceparent": sys.argv[2]}))
from losswire_client import Client
with Client(sys.argv[1]) as client:
    client.cross_entropy([[1.0, 2.0, 3.0]], [2])
"""
OLD_VERSION = """
import logging, sys
logging.basicConfig()
from opentelemetry import metrics
metrics.get_meter = lambda name: None
from opentelemetry import trace
from losswire_client import Client
with Client(sys.argv[1]) as client:
    for _ in range(3):
        client.cross_entropy([[1.0, 2.0, 3.0]], [2])
"""
NAMES = """
import sys, {imports}
from losswire_client import Client
with Client(sys.argv[1]) as client:
    client.cross_entropy([[1.0, 2.0, 3.0]], [2])
print(*sys.modules)
"""
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_context_is_passed_on_without_an_sdk():
    with serving(tracing=True) as server, traced() as trace:
        run([sys.executable, "-c", WITHIN_A_TRACE, f"127.0.0.1:{server.port}", PARENT], check=True)
        received = trace.only("losswire.v1.LossService/Evaluate", SpanKind.SERVER)
    assert f"{received.context.trace_id:032x}-{received.parent.span_id:016x}" == PARENT[3:-3]


def test_old_version_is_told_once_and_harms_nothing(target):
    done = run([sys.executable, "-c", OLD_VERSION, target], check=True, capture_output=True, text=True)
    assert done.stderr.count("calls are not traced: this version of OpenTelemetry is too old") == 1
    assert "client[tracing]" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("imports", ["sys", "opentelemetry.trace"])
def test_only_programs_with_opentelemetry_are_traced(imports, target):
    done = run(
        [sys.executable, "-c", NAMES.format(imports=imports), target], check=True, capture_output=True, text=True
    )
    names = set(done.stdout.split())
    assert {"opentelemetry", "losswire_client._tracing.spans"} <= names or imports == "sys"
    assert not {"opentelemetry", "losswire_client._tracing.spans"} & names or imports != "sys"
