from prometheus_client import CollectorRegistry

from losswire_server.metrics.launches import LaunchMetrics


def test_each_launch_is_one_observation():
    registry, waiting = CollectorRegistry(), 7
    metrics = LaunchMetrics(registry, lambda: waiting, limit_rows=100)
    metrics.count(rows=300, requests=5)
    metrics.count(rows=1, requests=1)
    metrics.count_retry()

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"losswire_{name}", labels)

    assert [value(f"launch_rows_{what}") for what in ("count", "sum")] == [2, 301]
    assert [value(f"launch_requests_{what}") for what in ("count", "sum")] == [2, 6]
    assert value("launch_rows_bucket", le="256.0") == 1
    assert value("launch_retries_total") == 1
    assert [value("queued_rows"), value("queue_limit_rows")] == [7, 100]
