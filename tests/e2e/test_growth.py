"""Memory over many evaluations and connections, in a short version of ``make bench-growth``.

malloc is set to give back freed memory, since a malloc that keeps it hides leaks for long. The client gives back all of
it, since a slow moment once leaves 2 MB of gRPC's slices behind. The bounds are above measurements of a server and a
client that leak nothing: after a short warm-up, a thread of the server may still take its 8 MB. The bounds are exceeded
if the client keeps 10 kB an evaluation, if the server keeps 50 kB, or if channels stay open.
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

EVALUATIONS = Watch("evaluations", warm_up=150, calls=600, step=150)
CONNECTIONS = Watch("connections", warm_up=20, calls=100, step=20)


@pytest.mark.parametrize(
    ("watch", "client_bound", "server_bound"),
    [(EVALUATIONS, 3 * MB, 15 * MB), (CONNECTIONS, 0.5 * MB, 4 * MB)],
    ids=lambda value: value.kind if isinstance(value, Watch) else "",
)
def test_memory_does_not_grow(watch, client_bound, server_bound):
    growth = measure(watch, GIVING_BACK, trimmed=True)
    assert growth.client < client_bound
    assert growth.server < server_bound
    assert len(growth.outcomes) > 1, "some calls are to fail, too"
