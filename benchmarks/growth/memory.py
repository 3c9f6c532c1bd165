"""Resident memory of a process, as the kernel reports it."""

from dataclasses import dataclass
from pathlib import Path

MB = 1e6


@dataclass(frozen=True)
class Resident:
    """Bytes of a process that are in memory.

    Attributes:
        own: All except shared memory: the process's private memory, and files that it maps, such as its libraries.
            These bytes would grow if something leaked, in Python, in gRPC's core or in malloc.
        shared: Regions that the process maps and has touched. They have a quota, and belong to two processes at once.
    """

    own: int
    shared: int


def resident(pid: int) -> Resident:
    """The resident memory of a process of this user."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    kib = {name: int(fields[name].split()[0]) for name in ("VmRSS", "RssShmem")}
    return Resident(own=1024 * (kib["VmRSS"] - kib["RssShmem"]), shared=1024 * kib["RssShmem"])


def supported() -> bool:
    return Path("/proc/self/status").exists()
