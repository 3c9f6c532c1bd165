"""Programs, servers and collectors as in the document: two processes, and one trace."""

import os
import re
import sys
from pathlib import Path

import pytest

from losswire_server import launch
from tests.processes import run
from tests.server.tracing.collector import collecting

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "tracing.md").read_text()


@pytest.mark.slow
def test_example_is_one_trace_of_two_services(monkeypatch):
    with collecting() as collector:
        for name in [name for name in os.environ if name.startswith("OTEL_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        with launch(tracing=True) as server:
            environment = os.environ | {"LOSSWIRE_TARGET": server.target}
            command = [sys.executable, str(ROOT / "examples" / "traced.py")]
            done = run(command, env=environment, check=True, capture_output=True, text=True)
        traces = {span.trace_id.hex() for span in collector.all_spans()}
        services = {
            attribute.value.string_value
            for resource in collector.spans
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }
        names = {span.name for span in collector.all_spans()}
    assert done.stdout == f"trace {traces.pop()}\n"
    assert traces == set()
    assert services == {"training", "losswire-server"}
    steps = set(re.findall(r"^\| `([a-z]+)` \|", DOCUMENT, re.MULTILINE))
    assert steps == {"receive", "admission", "read", "queue", "launch", "commit", "reply", "send"}
    assert steps - names == {"commit"}  # of evaluations with a key, which the program has none of
    assert {"step", "evaluate cross_entropy"} <= names
