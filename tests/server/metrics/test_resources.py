from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from losswire_server import __version__
from losswire_server.heads.errors import HeadNotFoundError
from losswire_server.heads.registry import Heads
from losswire_server.metrics.resources import HeadMetrics, Use, process_registry, show_build, show_memory
from tests.present import present
from tests.server.heads.making import add


def test_memory_is_read_when_scraped():
    registry, taken = CollectorRegistry(), {"inflight": 0, "leased": 0}
    show_memory(registry, Use(lambda: taken["inflight"], 10, lambda: taken["leased"], lambda: 2, 20))
    taken.update(inflight=7, leased=9)
    names = ("inflight_bytes", "inflight_limit_bytes", "shared_memory_bytes", "shared_memory_leases")
    assert [registry.get_sample_value(f"losswire_{name}") for name in names] == [7, 10, 9, 2]
    assert registry.get_sample_value("losswire_shared_memory_limit_bytes") == 20


def test_heads_are_counted():
    registry = CollectorRegistry()
    metrics = HeadMetrics(registry)
    heads = Heads(10**6, 1, metrics)
    metrics.show(heads)
    for seed in range(2):
        add(heads, seed)
    with pytest.raises(HeadNotFoundError):
        heads.use("gone", "f")
    metrics.came("mismatch")
    names = ("heads", "head_bytes", "head_limit_bytes", "head_evictions_total", "head_misses_total")
    values = [registry.get_sample_value(f"losswire_{name}") for name in names]
    assert values == [1, heads.nbytes, 10**6, 1, 1]
    outcomes = {
        outcome: registry.get_sample_value("losswire_head_registrations_total", {"outcome": outcome})
        for outcome in ("registered", "known", "quota", "mismatch")
    }
    assert outcomes == {"registered": 0, "known": 0, "quota": 0, "mismatch": 1}


def test_build_tells_versions_and_device():
    registry = CollectorRegistry()
    show_build(registry, "cpu")
    (build,) = [metric for metric in registry.collect() if metric.name == "losswire_build"]
    labels: dict[str, Any] = build.samples[0].labels
    assert (labels["version"], labels["device"]) == (__version__, "cpu")


def test_process_registry_tells_memory():
    assert present(process_registry().get_sample_value("process_resident_memory_bytes")) > 0
