"""Notices a piece that ends by itself."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

PAUSE_SECONDS = 0.2


@contextmanager
def watching(pieces: Mapping[str, int], stop: threading.Event) -> Iterator[list[str]]:
    """Sets ``stop`` when a process ends while the block runs, and says so at once.

    Args:
        pieces: The ids of processes that this one has started, by name.
        stop: Ends the block, which sets it in the end.

    Yields:
        What ended, once something has.
    """
    ended: list[str] = []
    watcher = threading.Thread(target=_watch, args=(pieces, stop, ended))
    watcher.start()
    try:
        yield ended
    finally:
        stop.set()
        watcher.join()


def _watch(pieces: Mapping[str, int], stop: threading.Event, ended: list[str]) -> None:
    while not stop.wait(PAUSE_SECONDS):  # once it is set, pieces end because they are told to
        ends = {name: _end(pid) for name, pid in pieces.items()}
        ended += [f"{name} has ended {end}" for name, end in ends.items() if end]
        if ended:
            print(f"stack: {', '.join(ended)}, so all of it ends", file=sys.stderr)
            stop.set()


def _end(pid: int) -> str:
    """How a process ended, and nothing while it runs. Whoever waits for it is still told."""
    told = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if told is None:
        return ""
    is_own = told.si_code == os.CLD_EXITED
    return f"with status {told.si_status}" if is_own else f"by {signal.Signals(told.si_status).name}"
