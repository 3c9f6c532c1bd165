"""What a server process holds: memory, descriptors, threads, and what its metrics say is in use."""

import os
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.growth.memory import resident

FAULTS = ("INTERNAL", "UNKNOWN", "DATA_LOSS")
REGION = "/memfd:losswire-"
IN_USE = ("losswire_inflight_bytes", "losswire_shared_memory_bytes", "losswire_queued_rows")


class Held(NamedTuple):
    """What a process holds.

    Attributes:
        memory: Bytes in memory, except shared ones.
        descriptors: Open files and sockets, but for those of regions.
        regions: Descriptors of regions: two for each one that a caller leases, who may keep it for its next batch.
        threads: How many.
        in_use: The metrics of what is in use, by their names; empty for a client.
        faults: Calls that ended by the server's own fault.
    """

    memory: int
    descriptors: int
    regions: int
    threads: int
    in_use: dict[str, float]
    faults: int


def held(pid: int, metrics_url: str | None = None) -> Held:
    """What a process of this user holds now, and its children, which are the processes of one server.

    Raises:
        OSError: It is gone, or does not answer.
    """
    samples = _samples(metrics_url) if metrics_url else []
    family = [pid, *_children(pid)] if metrics_url else [pid]
    opened = [name for member in family for name in _opened(member)]
    return Held(
        sum(resident(member).own for member in family),
        sum(not name.startswith(REGION) for name in opened),
        sum(name.startswith(REGION) for name in opened),
        sum(len(list(Path(f"/proc/{member}/task").iterdir())) for member in family),
        {name: value for name, labels, value in samples if name in IN_USE},
        int(sum(value for name, labels, value in samples if name.endswith("handled_total") and _is_fault(labels))),
    )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _opened(pid: int) -> list[str]:
    """What a process's descriptors are of."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(link))
    return found


def settled(pid: int, metrics_url: str, seconds: float, descriptors: int | None = None) -> Held:
    """What a server holds once nothing is in use, and no more than so many descriptors are open.

    If that does not come to pass within so many seconds, what it holds then.
    """
    deadline = time.monotonic() + seconds
    while True:
        now = held(pid, metrics_url)
        is_over = not any(now.in_use.values()) and (descriptors is None or now.descriptors <= descriptors)
        if is_over or time.monotonic() > deadline:
            return now
        time.sleep(0.2)


def peak(pid: int) -> int:
    """The most bytes that a process has had in memory since `forget_peak`, shared ones included."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split(None, 1)[0])


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _samples(url: str) -> list[tuple[str, dict[str, str], float]]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def _is_fault(labels: dict[str, str]) -> bool:
    return labels.get("grpc_code") in FAULTS
