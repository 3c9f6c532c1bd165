"""Estimates from its form how long an evaluation takes: good enough to choose a thread, not to promise a time."""

import math

from losswire import v1
from losswire.tensors import MAX_ELEMENTS

# Measured: some 10 ns an element, 400 us a group, and 25 us a request in it. Groups and requests count for a sixth:
# they are mostly Python, which holds the interpreter's lock in any thread, so that handing them over would gain little.
GROUP_SECONDS, REQUEST_SECONDS, ELEMENT_SECONDS = 65e-6, 3.3e-6, 10e-9


def seconds(groups: int, requests: int, elements: int) -> float:
    """Seconds that so many requests in so many groups probably take. A request that comes alone is a group.

    Args:
        groups: How many there are.
        requests: How many are in all groups together.
        elements: How many the inputs of all requests have together.
    """
    return groups * GROUP_SECONDS + requests * REQUEST_SECONDS + elements * ELEMENT_SECONDS


def element_count(input: v1.Tensor) -> int:
    """The elements of an input whose shape may be wrong. Rows without classes count: they take time too."""
    return max(0, min(math.prod(filter(None, input.shape)), MAX_ELEMENTS))
