"""How long an evaluation takes, as far as its form tells: good for a choice, and not for a promise."""

import math

from losswire import v1
from losswire.tensors import MAX_ELEMENTS

# Measured were some 10 ns an element, 400 us a group and 25 a request in it. The latter two count for a sixth: they are
# mostly Python, which holds the interpreter's lock wherever it is done, so that handing it over would gain little.
GROUP_SECONDS, REQUEST_SECONDS, ELEMENT_SECONDS = 65e-6, 3.3e-6, 10e-9


def seconds(groups: int, requests: int, elements: int) -> float:
    """That so many requests in so many groups probably take. A request that comes alone is a group.

    Args:
        groups: How many there are.
        requests: How many are in all groups together.
        elements: How many the inputs of all requests have together.
    """
    return groups * GROUP_SECONDS + requests * REQUEST_SECONDS + elements * ELEMENT_SECONDS


def element_count(input: v1.Tensor) -> int:
    """Of an input whose shape may be wrong. Rows without classes take time too."""
    return max(0, min(math.prod(filter(None, input.shape)), MAX_ELEMENTS))
