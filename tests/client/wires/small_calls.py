"""Small evaluations that may travel together, and helpers for their tests."""

import numpy as np

from losswire_server import Server
from tests.present import present

RNG = np.random.default_rng(0)
SMALL = [(RNG.standard_normal((n % 5 + 1, 7), np.float32), RNG.integers(0, 7, n % 5 + 1)) for n in range(100)]
LARGE = np.zeros((200, 1000), np.float32), np.zeros(200, np.int64)


def target_of(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


def calls_of(server: Server, method: str) -> float:
    labels = {"grpc_type": "unary", "grpc_service": "losswire.v1.LossService", "grpc_method": method}
    return present(server.registry.get_sample_value("grpc_server_started_total", labels))


def assert_same(got, want):
    for name in ("loss", "grad", "predictions", "entropy"):
        a, b = getattr(got, name), getattr(want, name)
        assert (a is None and b is None) or np.array_equal(a, b), name
    assert (got.loss_sum, got.weight_sum, got.row_count) == (want.loss_sum, want.weight_sum, want.row_count)
