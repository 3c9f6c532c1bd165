import logging

from prometheus_client import CollectorRegistry

from losswire_server.metrics.security import SecurityMetrics
from losswire_server.rpc.security.refusals import Refusals


def test_flood_of_strangers_is_a_few_lines_and_counted(caplog):
    registry, now = CollectorRegistry(), [100.0]
    refusals = Refusals(SecurityMetrics(registry), lambda: now[0])
    for _ in range(10_000):
        refusals.add("unknown", "ipv4:192.0.2.1:5")
        now[0] += 0.003
    now[0] += 10
    refusals.add("missing", "ipv4:192.0.2.2:5")
    lines = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 4
    assert (lines[0].reason, lines[0].calls, lines[0].last_peer) == ("unknown", 1, "ipv4:192.0.2.1:5")
    counted = {
        reason: registry.get_sample_value("losswire_unauthenticated_calls_total", {"reason": reason})
        for reason in ("missing", "malformed", "unknown")
    }
    assert counted == {"missing": 1, "malformed": 0, "unknown": 10_000}
