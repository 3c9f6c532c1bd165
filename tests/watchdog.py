"""Ends a process that is stuck, and all that it has started. A program of its own, run beside the process.

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

STACKS_SECONDS = 5.0  # that a process gets to tell where its threads stand
LEAVING_SECONDS = 2.0  # that others get to end by themselves, when the process has ended by itself


def watch(pid: int, seconds: float) -> None:
    process = os.pidfd_open(pid)  # others may get its number, but not this
    if outlives(process, seconds):
        left = started_by(pid)
        signal.pidfd_send_signal(process, signal.SIGABRT)  # at which pytest's faulthandler shows the stacks
        if not ends(process, STACKS_SECONDS):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        kill(left)
    else:
        deadline = time.monotonic() + LEAVING_SECONDS
        while started_by(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    while left := started_by(pid):  # those too that were being started meanwhile
        kill(left)
        time.sleep(0.01)


def outlives(process: int, seconds: float) -> bool:
    """Whether a process goes on for longer than it may."""
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
    """The descendants of a process, and the others of its session if it leads one."""
    living = dict(processes())
    found = {other for other, (_, session) in living.items() if session == pid != other}
    known = {pid, *found}
    while more := {other for other, (parent, _) in living.items() if parent in known} - known:
        known |= more
        found |= more
    return found


def processes() -> Iterator[tuple[int, tuple[int, int]]]:
    """All that live, each with its parent and its session."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as stat:
                state, parent, _, session = stat.read().rpartition(")")[2].split()[:4]
        except OSError:  # it has just ended
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
    if os.fork() == 0:  # so that it is no child of what it watches
        watch(int(sys.argv[1]), float(sys.argv[2]))
