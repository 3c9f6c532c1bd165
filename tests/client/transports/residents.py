"""Arrays that lie in shared memory, and clients for them."""

import numpy as np

from losswire_client import Client

MIB = 2**20
SHAPE = (256, 1000)  # about a MiB of float32, too large for the request
LOGITS = np.random.default_rng(0).standard_normal(SHAPE, np.float32)
TARGET = np.random.default_rng(1).integers(0, 1000, 256)


def connected(server, **options):
    return Client(f"127.0.0.1:{server.port}", timeout=20, **options)


def resident(client: Client, array) -> np.ndarray:
    place = client.empty(array.shape, array.dtype)
    place[...] = array
    return place


def in_a_region(client: Client, array) -> bool:
    return client._session.shared.holds(array)
