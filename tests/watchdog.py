"""A program that runs beside a process. If the process hangs, it ends the process and all that this has started.

Usage: ``watchdog.py PID SECONDS``, where SECONDS is the longest that the process may live. It reads doubles from its
standard input: how many seconds the process may go on from now.
"""

import math
import os
import select
import signal
import struct
import sys
import time
from collections.abc import Iterator

STACKS_SECONDS = 5.0  # how long a process gets to show the stacks of its threads
LEAVING_SECONDS = 2.0  # how long its children get to end by themselves after the process has ended by itself


def watch(pid: int, seconds: float) -> None:
    process = os.pidfd_open(pid)  # its number may be reused, but not this descriptor
    if outlives(process, seconds):
        left = started_by(pid)
        signal.pidfd_send_signal(process, signal.SIGABRT)  # pytest's faulthandler then shows the stacks
        if not ends(process, STACKS_SECONDS):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        kill(left)
    else:
        deadline = time.monotonic() + LEAVING_SECONDS
        while started_by(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    while left := started_by(pid):  # again, for processes that were started meanwhile
        kill(left)
        time.sleep(0.01)


def outlives(process: int, seconds: float) -> bool:
    """Whether a process runs for longer than so many seconds, or than standard input allows."""
    last, due = time.monotonic() + seconds, math.inf
    sources = [process, sys.stdin.fileno()]
    while (left := min(due, last) - time.monotonic()) > 0:
        ready, _, _ = select.select(sources, [], [], left)
        if process in ready:
            return False
        if ready:
            message = os.read(sys.stdin.fileno(), 8)
            if message:
                due = time.monotonic() + struct.unpack("d", message)[0]
            else:
                sources.remove(sys.stdin.fileno())
    return True


def ends(process: int, seconds: float) -> bool:
    return bool(select.select([process], [], [], seconds)[0])


def started_by(pid: int) -> set[int]:
    """The descendants of a process, and all other processes of its session if it leads one."""
    living = dict(processes())
    found = {other for other, (_, session) in living.items() if session == pid != other}
    known = {pid, *found}
    while more := {other for other, (parent, _) in living.items() if parent in known} - known:
        known |= more
        found |= more
    return found


def processes() -> Iterator[tuple[int, tuple[int, int]]]:
    """All living processes, each with its parent and its session."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                state, parent, _, session = stat.read().rpartition(")")[2].split()[:4]
        except OSError:  # the process has just ended
            continue
        if state != "Z":
            yield int(name), (int(parent), int(session))


def kill(pids: set[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    if os.fork() == 0:  # so that the watchdog is no child of the process that it watches
        watch(int(sys.argv[1]), float(sys.argv[2]))
