from collections.abc import Iterator

import pytest

from losswire_client._transports import placement
from tests.client.transports.everywhere.ways import Everywhere
from tests.helpers import serving

SLAB_BYTES = 4096  # so that small batches are many slabs


@pytest.fixture(scope="module")
def everywhere() -> Iterator[Everywhere]:
    """A server that holds what callers register, and clients that reach it by every transport."""
    with serving(slab_bytes=SLAB_BYTES, allow_head_registration=True) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(placement, "LEAST_BYTES", 1)  # small arrays lie in shared memory as well
        ways = Everywhere(server)
        yield ways
        ways.close()
