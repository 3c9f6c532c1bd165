"""Bounds on the time and the memory that one input may take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trials.fuzz.findings import FindingError

SECONDS, SECONDS_A_BYTE = 1.0, 1e-6  # of CPU, so that a busy machine is no finding
# Answers may have all outputs in float64, which take some 50 times as much as an input of bytes, and the targets' own
# oracles hold the answer several times. Only memory that is touched counts.
BYTES, BYTES_A_BYTE = 48 * 2**20, 256
PEAK = Path("/proc/self/clear_refs")


@contextmanager
def bounded(size: int) -> Iterator[None]:
    """Holds what is done with an input of so many bytes to the bounds.

    Raises:
        FindingError: It took longer, or more memory.
    """
    before, start = _begin_peak(), time.thread_time()
    yield
    seconds, grown = time.thread_time() - start, _peak() - before
    if seconds > SECONDS + size * SECONDS_A_BYTE:
        raise FindingError(f"{size} bytes took {seconds:.2f} s")
    if grown > BYTES + size * BYTES_A_BYTE:
        raise FindingError(f"{size} bytes took {grown / 1e6:.0f} MB")


def _begin_peak() -> int:
    """Forgets the peak so far, where Linux lets it; returns the memory of this process."""
    try:
        PEAK.write_text("5")
    except OSError:
        return _peak()
    return _peak()


def _peak() -> int:
    """The most bytes that this process had in memory since `_begin_peak`."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return 1024 * int(status.partition("VmHWM:")[2].split(None, 1)[0])
