"""Which processes live."""

import os
from pathlib import Path

from tests.watchdog import processes, started_by


def is_alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and was not waited for does not."""
    return pid in dict(processes())


def workers() -> set[int]:
    """The processes of the cluster that evaluate."""
    commands = {pid: Path(f"/proc/{pid}/cmdline") for pid in started_by(os.getpid())}
    return {pid for pid, command in commands.items() if command.exists() and b"MapWorker" in command.read_bytes()}
