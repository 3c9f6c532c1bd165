"""A server whose promise about memory is checked at the end, whatever its callers did."""

import logging
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from losswire.v1.loss_service_pb2_grpc import LossServiceStub
from losswire_server import RunningServer, launch
from tests.e2e.memory.beside import company
from tests.e2e.memory.requests import MIB, request
from tests.helpers import eventually

BUDGET = 256 * MIB
MOST = BUDGET * 5 // 4  # of what the process takes beyond what it takes when idle
KEPT = BUDGET // 2  # at most, of freed memory, once nothing is in flight
LONGEST_SECONDS = 2.0  # of a small call beside, on a machine that does other things too

log = logging.getLogger(__name__)


@contextmanager
def promising(**settings: Any) -> Iterator[RunningServer]:
    """A server with a budget. At the end, it kept within it, holds nothing, and has served a small caller throughout.

    A small caller is served in well under a second; bounds of a fraction of that would fail on a busy machine.
    """
    with launch(**{"max_inflight_bytes": BUDGET, "log_level": "error", **settings}) as server:
        warm_up(server)
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # forgets its peak
        idle = memory(server, "VmRSS")
        with company(server.target) as beside:
            yield server
            eventually(lambda: metric(server, "losswire_inflight_bytes") == 0)
        eventually(lambda: memory(server, "VmRSS") - idle < KEPT)
        grown, left = memory(server, "VmHWM") - idle, memory(server, "VmRSS") - idle
        log.info("%d of %d MiB, then %d; beside %s", grown / MIB, MOST / MIB, left / MIB, vars(beside))
        assert grown < MOST, f"{grown / MIB:.0f} MiB"
        assert set(beside.ends) == {"OK"}
        assert beside.longest < LONGEST_SECONDS


def warm_up(server: RunningServer) -> None:
    with grpc.insecure_channel(server.target) as channel:
        for _ in range(5):
            LossServiceStub(channel).Evaluate(request(256, 100))
    time.sleep(0.2)


def memory(server: RunningServer, name: str) -> int:
    """Bytes of the server's process, as the kernel calls them: VmRSS now, VmHWM at the peak."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    (kibibytes,) = re.findall(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kibibytes) * 1024


def metric(server: RunningServer, name: str) -> float:
    with urllib.request.urlopen(server.metrics_url, timeout=20) as answer:
        (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(value)
