"""Memory over many evaluations and connections, in short: ``make bench-growth`` takes its time.

With a malloc that gives back what is freed, since one that keeps it hides leaks for long. The bounds are a few times
what the two processes differ by from one sample to the next, and a tenth or less of what a leak of 100 kB a call makes.
"""

import pytest

from benchmarks.growth import memory
from benchmarks.growth.memory import MB
from benchmarks.growth.processes import GIVING_BACK
from benchmarks.growth.watching import Watch, measure

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not memory.supported(), reason="resident memory is read from /proc"),
]

EVALUATIONS = Watch("evaluations", warm_up=400, calls=1000, step=200)
CONNECTIONS = Watch("connections", warm_up=40, calls=100, step=20)


@pytest.mark.parametrize("watch", [EVALUATIONS, CONNECTIONS], ids=lambda watch: watch.kind)
def test_memory_does_not_grow(watch):
    growth = measure(watch, GIVING_BACK)
    assert growth.client < 3 * MB
    assert growth.server < 15 * MB
    assert len(growth.outcomes) > 1, "some calls are to fail, too"
