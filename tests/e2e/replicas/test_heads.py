"""Heads of servers that know nothing of each other, behind one proxy that spreads calls over them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import pytest

from losswire_client import Client, Head, Result
from losswire_server import launch
from tests.e2e.replicas.proxy import TOKEN, Proxy, envoy
from tests.present import present
from tests.server.secured import write_tokens

MOST_CALLS = 64  # until chance has sent some to each replica


class Service(NamedTuple):
    proxy: Proxy
    replicas: Sequence[str]  # their targets


@pytest.fixture
def service(tmp_path) -> Iterator[Service]:
    tokens = write_tokens(tmp_path, tests=TOKEN)["tokens"]
    with ExitStack() as stack:
        replicas = [stack.enter_context(launch(tokens=tokens)).target for _ in range(2)]
        ports = [int(target.rpartition(":")[2]) for target in replicas]
        yield Service(stack.enter_context(envoy(ports, tmp_path)), replicas)


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["unary", "stream"])
def test_each_replica_gets_the_head_that_its_call_needs(service, transport):
    rng = np.random.default_rng(0)
    head = Head(rng.standard_normal((5000, 256), np.float32))
    hidden, target = rng.standard_normal((20, 256), np.float32), rng.integers(5000, size=20)
    results: list[Result] = []
    with service.proxy.client(transport=transport) as client:
        while len(results) < MOST_CALLS and not all(holds(replica, head) for replica in service.replicas):
            results.append(client.linear_cross_entropy(hidden, head, target, grad=True))
    assert 0 < len(results) < MOST_CALLS
    assert len({result.loss.tobytes() + present(result.grad).tobytes() for result in results}) == 1


def holds(replica: str, head: Head) -> bool:
    with Client(replica, token=TOKEN) as client:
        return head.digest in [held.digest for held in client.heads()]
