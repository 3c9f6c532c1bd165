"""Leases of shared memory as a caller in any language uses and misuses them."""

import asyncio
import ctypes
import errno
import fcntl
import os
import threading

import grpc
import numpy as np
import pytest

from losswire import v1
from losswire.v1 import loss_service_pb2_grpc
from losswire_server.errors import NotPermittedError, OverloadedError
from losswire_server.memory.leases import Leases, is_local
from losswire_server.memory.regions import Regions
from tests.helpers import eventually, serving
from tests.server.calls.raw_streams import connection
from tests.server.memory.shared_memory import (
    LOGITS,
    PAGE,
    TARGET,
    connected,
    lease_of,
    leased,
    leased_bytes,
    refused,
    request,
    sent,
)


def test_region_cannot_change_its_size(stub):
    with leased(stub, PAGE + 1) as region:
        assert len(region.mapping) == os.fstat(region.descriptor).st_size == 2 * PAGE
        for size in (0, PAGE, 100 * PAGE):
            with pytest.raises(PermissionError):
                os.ftruncate(region.descriptor, size)
        with pytest.raises(PermissionError):
            fcntl.fcntl(region.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_punched_hole_reads_as_zeros(stub):
    with leased(stub) as region:
        input, target = region.put(LOGITS), region.put(TARGET, 2**19)
        expected = stub.Evaluate(request(sent(np.zeros_like(LOGITS)), target))
        punch_hole_and_keep_size, size = 3, ctypes.c_long(LOGITS.nbytes)
        assert ctypes.CDLL(None).fallocate(region.descriptor, punch_hole_and_keep_size, ctypes.c_long(0), size) == 0
        assert stub.Evaluate(request(input, target)) == expected


@pytest.mark.parametrize("size", [0, -1, -(2**63)])
def test_size_that_is_not_positive_is_refused(stub, size):
    code, reason, violations = refused(lambda: lease_of(stub, size))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert violations == {"size_bytes": f"expected at least 1, got {size}"}


def test_quota_bounds_all_regions():
    with serving(shared_memory_bytes=4 * PAGE, caller_share=1) as server, connected(f"127.0.0.1:{server.port}") as stub:
        with leased(stub, 3 * PAGE):
            assert leased_bytes(server) == 3 * PAGE
            code, reason, _ = refused(lambda: lease_of(stub, 2 * PAGE))
            assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        eventually(lambda: leased_bytes(server) == 0)
        with leased(stub, 4 * PAGE):
            assert leased_bytes(server) == 4 * PAGE


def test_one_caller_gets_its_share():
    settings = {"shared_memory_bytes": 8 * PAGE, "caller_share": 0.5, "caller_leases": 2}
    with serving(**settings) as server, connected(f"127.0.0.1:{server.port}") as stub:
        assert refused(lambda: lease_of(stub, 5 * PAGE))[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")
        with leased(stub, 3 * PAGE):
            refusal = refused(lambda: lease_of(stub, 2 * PAGE))
            assert refusal[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
            with connection(server) as another, leased(loss_service_pb2_grpc.LossServiceStub(another), 2 * PAGE):
                assert leased_bytes(server) == 5 * PAGE
            with leased(stub, PAGE):
                assert refused(lambda: lease_of(stub, 1))[1] == "OVERLOADED"
        eventually(lambda: leased_bytes(server) == 0)
        with leased(stub, 4 * PAGE):
            assert leased_bytes(server) == 4 * PAGE


@pytest.mark.parametrize("size", [4 * PAGE + 1, 2**63 - 1])
def test_size_above_the_quota_never_fits(size):
    with serving(shared_memory_bytes=4 * PAGE, caller_share=1) as server, connected(f"127.0.0.1:{server.port}") as stub:
        assert refused(lambda: lease_of(stub, size))[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")
        assert leased_bytes(server) == 0


def test_regions_are_bounded_in_number_too(monkeypatch):
    monkeypatch.setattr("losswire_server.memory.regions._most_regions", lambda: 2)
    regions = Regions(2**30)
    leases = [regions.lease(1), regions.lease(1)]
    with pytest.raises(OverloadedError, match="2 regions"):
        regions.lease(1)
    for lease in leases:
        regions.release(lease.region_id)
    assert regions.leased_bytes == 0


def test_lack_of_memory_is_refused(monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("losswire_server.memory.regions._make", fail)
    regions = Regions(2**30)
    with pytest.raises(OverloadedError, match="Cannot allocate memory"):
        regions.lease(1)
    assert regions.leased_bytes == 0


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("ipv4:127.0.0.1:54321", True),
        ("ipv4:127.8.9.1:54321", True),
        ("ipv6:[::1]:54321", True),
        ("ipv6:%5B::1%5D:54321", True),
        ("ipv6:[::ffff:127.0.0.1]:54321", True),
        ("unix:", True),
        ("unix:/run/losswire.sock", True),
        ("unix-abstract:losswire", True),
        ("ipv4:10.0.0.7:54321", False),
        ("ipv4:128.0.0.1:1", False),
        ("ipv6:[::ffff:10.0.0.7]:54321", False),
        ("ipv6:[fe80::1%25eth0]:54321", False),
        ("ipv6:[2001:db8::1]:54321", False),
        ("vsock:2:1", False),
        ("ipv4:127.0.0.1.example.org:1", False),
        ("unixes", False),
        ("", False),
    ],
)
def test_only_this_machine_is_local(peer, local):
    assert is_local(peer) is local


def test_remote_caller_is_refused():
    regions = Regions(2**20)

    async def lease():
        async for _ in Leases(regions).lease(0, "ipv4:10.0.0.7:54321"):
            raise AssertionError

    with pytest.raises(NotPermittedError, match="on the server's machine"):
        asyncio.run(lease())
    assert regions.leased_bytes == 0


def test_shared_memory_may_be_off():
    with serving(shared_memory_bytes=0) as server, connected(f"127.0.0.1:{server.port}") as stub:
        told = stub.GetCapabilities(v1.GetCapabilitiesRequest())
        assert v1.Transport.TRANSPORT_SHARED_MEMORY not in told.transports
        assert told.limits.shared_memory_bytes == 0
        assert refused(lambda: lease_of(stub, 1))[:2] == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SERVED")
        somewhere = v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=[64, 100], shared_memory=v1.SharedMemorySpan())
        code, _, violations = refused(lambda: stub.Evaluate(request(somewhere, sent(TARGET))))
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert list(violations) == ["input.shared_memory"]


def test_capabilities_tell_the_quota(stub):
    told = stub.GetCapabilities(v1.GetCapabilitiesRequest())
    assert v1.Transport.TRANSPORT_SHARED_MEMORY in told.transports
    assert told.limits.shared_memory_bytes == 2**30


def test_lease_ends_with_its_deadline(server, stub):
    call = stub.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=PAGE), timeout=1.5)
    next(call)
    with pytest.raises(grpc.RpcError):
        next(call)
    eventually(lambda: leased_bytes(server) == 0)


def test_leases_do_not_hold_up_the_stop():
    stopped = threading.Event()
    with connected_to_a_server(stopped) as (server, stub), leased(stub):
        assert leased_bytes(server) == 2**20
    assert stopped.is_set()
    assert server._backend._regions.leased_bytes == 0


class connected_to_a_server:  # noqa: N801 - reads as a function
    """A server that stops, within its grace, while a lease lasts."""

    def __init__(self, stopped):
        self._stopped, self._serving = stopped, serving(grace_seconds=60)

    def __enter__(self):
        self._server = self._serving.__enter__()
        self._connected = connected(f"127.0.0.1:{self._server.port}")
        return self._server, self._connected.__enter__()

    def __exit__(self, *error):
        self._serving.__exit__(*error)
        self._stopped.set()
        self._connected.__exit__(*error)
