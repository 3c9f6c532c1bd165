"""What a server of several processes shows of itself."""

import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from losswire_server import RunningServer


def children(server: RunningServer) -> list[int]:
    """The processes of the server."""
    told = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [int(pid) for pid in told.split()]


def samples(server: RunningServer, headers: dict[str, str] | None = None, query: str = "") -> dict[str, float]:
    """The values of all metrics, by name and labels."""
    asked = urllib.request.Request(server.metrics_url + query, headers=headers or {})
    text = urllib.request.urlopen(asked, timeout=20).read().decode()
    families = text_string_to_metric_families(text)
    return {f"{s.name}{sorted(s.labels.items())}": s.value for family in families for s in family.samples}


def serving(server: RunningServer) -> float:
    """How many processes serve."""
    return samples(server)["losswire_processes[]"]


def is_replaced(pid: int, server: RunningServer) -> bool:
    """Whether another process serves in place of one that was ended.

    The processes are looked at first: one that still drains counts among those that serve.
    """
    pids = children(server)
    return len(pids) == 2 and pid not in pids and serving(server) == 2
