from prometheus_client import CollectorRegistry

from losswire_server import __version__
from losswire_server.metrics.resources import process_registry, show_memory
from tests.present import present


def test_memory_is_read_when_scraped():
    registry, taken = CollectorRegistry(), {"inflight": 0, "leased": 0}
    show_memory(registry, lambda: taken["inflight"], lambda: taken["leased"])
    taken.update(inflight=7, leased=9)
    assert registry.get_sample_value("losswire_inflight_bytes") == 7
    assert registry.get_sample_value("losswire_shared_memory_bytes") == 9


def test_process_registry_tells_versions():
    registry = process_registry()
    (build,) = [metric for metric in registry.collect() if metric.name == "losswire_build"]
    assert build.samples[0].labels["version"] == __version__
    assert present(registry.get_sample_value("process_resident_memory_bytes")) > 0
