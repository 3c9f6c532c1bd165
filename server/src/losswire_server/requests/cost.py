"""Estimates from its form how long an evaluation takes: good enough to choose a thread, not to promise a time."""

import math

from losswire import v1
from losswire.tensors import MAX_ELEMENTS

# Measured: some 10 ns an element, 400 us a group, and 25 us a request in it. Groups and requests count for a sixth:
# they are mostly Python, which holds the interpreter's lock in any thread, so that handing them over would gain little.
GROUP_SECONDS, REQUEST_SECONDS, ELEMENT_SECONDS = 65e-6, 3.3e-6, 10e-9
TARGET_SECONDS = 3e-9  # copied out of shared memory, and compared to their bounds
BYTE_SECONDS = 0.5e-9  # copied to a fresh buffer
ROW_SECONDS = 1e-9  # added up in float64


def seconds(groups: int, requests: int, elements: int) -> float:
    """Seconds that so many requests in so many groups probably take. A request that comes alone is a group.

    Args:
        groups: How many there are.
        requests: How many are in all groups together.
        elements: How many the inputs of all requests have together.
    """
    return groups * GROUP_SECONDS + requests * REQUEST_SECONDS + elements * ELEMENT_SECONDS


def planning_seconds(targets: int) -> float:
    """Seconds that checking so many elements of targets probably takes, wherever they lie."""
    return targets * TARGET_SECONDS


def adding_seconds(rows: int) -> float:
    """Seconds that adding up the losses of so many rows probably takes."""
    return rows * ROW_SECONDS


def copying_seconds(size: int) -> float:
    """Seconds that writing a message of so many bytes probably takes."""
    return size * BYTE_SECONDS


def element_count(tensor: v1.Tensor) -> int:
    """The elements of a tensor whose shape may be wrong. Rows without classes count: they take time too."""
    return max(0, min(math.prod(filter(None, tensor.shape)), MAX_ELEMENTS))
