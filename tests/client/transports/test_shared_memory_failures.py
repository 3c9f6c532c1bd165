"""Shared memory that is refused, is not what the server says, or is used wrongly."""

import mmap
import os
import threading

import grpc
import numpy as np
import pytest

import ce_engine.cpu
from losswire import v1
from losswire_client import (
    Client,
    DeadlineExceededError,
    InvalidArgumentError,
    LosswireError,
    NotServedError,
    PermissionDeniedError,
)
from losswire_client._transports.region import Region
from tests.client.request.verdicts import unchecked
from tests.client.transports.residents import LOGITS, MIB, SHAPE, TARGET, connected, in_a_region, resident
from tests.helpers import eventually, serving
from tests.server.memory.shared_memory import leased_bytes


def test_server_without_shared_memory_says_so():
    with serving(shared_memory_bytes=0) as server:
        with connected(server) as client:
            assert client.capabilities().shared_memory_bytes == 0
            with pytest.raises(NotServedError, match="leases no shared memory"):
                client.empty(3)
            assert client.cross_entropy(LOGITS, TARGET).row_count == 256
        with connected(server, transport="shared_memory") as client, pytest.raises(NotServedError):
            client.cross_entropy(LOGITS, TARGET)


def test_old_regions_are_copied_after_restart(monkeypatch):
    with serving() as first:
        port = first.port
        client = connected(first, transport="shared_memory")
        place = resident(client, LOGITS)
        expected = client.cross_entropy(place, TARGET, grad=True)
    with client, serving(port=port):
        # The client has not heard of it yet.
        monkeypatch.setattr(Region, "is_leased", property(lambda region: not region._lost))
        eventually(lambda: reaches(client))
        again = client.cross_entropy(place, TARGET, grad=True)
        assert again.loss == expected.loss
        assert np.array_equal(again.grad, expected.grad)
        assert not in_a_region(client, place)


def reaches(client: Client) -> bool:
    try:
        client.capabilities()
    except LosswireError:
        return False
    return True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lease: setattr(lease, "path", "/proc/self/fd/987654"), "No such file"),
        (lambda lease: setattr(lease, "path", "/proc/self/exe"), "not on this machine"),
        (lambda lease: setattr(lease, "region_id", "another"), "not on this machine"),
        (lambda lease: setattr(lease, "size_bytes", lease.size_bytes + mmap.PAGESIZE), "not on this machine"),
    ],
    ids=["no file", "other file", "other region", "other size"],
)
def test_path_elsewhere_is_never_mapped(alone, monkeypatch, change, said):
    server, client = alone

    def misled(lease, *more):
        change(lease)
        return Region(lease, *more)

    monkeypatch.setattr("losswire_client._wires.grpc_wire.Region", misled)
    with pytest.raises(PermissionDeniedError, match=said):
        client.empty(SHAPE)
    eventually(lambda: leased_bytes(server) == 0)


def test_shrinkable_file_is_never_mapped():
    descriptor = os.memfd_create("losswire-unsealed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, mmap.PAGESIZE)
    path = f"/proc/{os.getpid()}/fd/{descriptor}"
    lease = v1.LeaseSharedMemoryResponse(region_id="unsealed", path=path, size_bytes=mmap.PAGESIZE)
    with pytest.raises(PermissionDeniedError):
        Region(lease, bool, bool)
    os.close(descriptor)


def test_wrong_target_is_named(shared):
    with unchecked(), pytest.raises(InvalidArgumentError, match="got 1000 at row 7") as raised:
        shared.cross_entropy(LOGITS, np.where(np.arange(256) == 7, 1000, TARGET))
    assert raised.value.argument == "target"
    assert raised.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert shared.cross_entropy(LOGITS, TARGET).row_count == 256


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        (lambda r: setattr(r.input.shared_memory, "offset_bytes", 2), "input"),
        (lambda r: setattr(r.outputs.gradient.destination, "offset_bytes", -4), "grad"),
        (lambda r: r.outputs.gradient.destination.CopyFrom(r.input.shared_memory), "grad"),
    ],
)
def test_wrong_span_names_the_argument(shared, monkeypatch, change, argument):
    wire = shared._connection.wire()
    evaluate = wire.evaluate

    async def wrong(request, deadline):
        change(request)
        return await evaluate(request, deadline)

    monkeypatch.setattr(wire, "evaluate", wrong)
    with pytest.raises(InvalidArgumentError) as raised:
        shared.cross_entropy(LOGITS, TARGET, grad=True)
    assert raised.value.argument == argument


def test_region_of_a_left_call_is_discarded(alone, monkeypatch):
    server, _ = alone
    opened, evaluate = threading.Event(), ce_engine.cpu.evaluate

    def slow(*arguments, **options):
        assert opened.wait(30)
        return evaluate(*arguments, **options)

    monkeypatch.setattr("ce_engine.cpu.evaluate", slow)
    with connected(server, transport="shared_memory") as client:
        with pytest.raises(DeadlineExceededError):
            client.cross_entropy(LOGITS, TARGET, grad=True, timeout=0.3)
        assert not client._session.shared._pool._idle
        opened.set()
        assert client.cross_entropy(LOGITS, TARGET).row_count == 256
        eventually(lambda: leased_bytes(server) == MIB)


@pytest.mark.parametrize(
    ("shape", "dtype", "argument"),
    [
        (-1, "float32", "shape"),
        ((2, 3.5), "float32", "shape"),
        (3, "complex64", "dtype"),
        (3, "nonsense", "dtype"),
        (3, ">f4", "dtype"),
        (3, object, "dtype"),
    ],
)
def test_wrong_shape_or_dtype_is_refused(client, shape, dtype, argument):
    with pytest.raises(InvalidArgumentError) as raised:
        client.empty(shape, dtype)
    assert raised.value.argument == argument


@pytest.mark.parametrize("shape", [(), 3, (0, 5), (2, 3, 4), np.int64(4)])
def test_array_has_the_asked_shape(client, shape):
    array = client.empty(shape, np.int16)
    assert array.shape == np.empty(shape).shape
    array[...] = 7
    assert (array == 7).all()


def test_unknown_transport_is_refused(target):
    with pytest.raises(InvalidArgumentError, match="unary") as raised:
        Client(target, transport="pigeon")
    assert raised.value.argument == "transport"


def test_hundreds_of_calls_leave_nothing(alone):
    server, _ = alone
    with connected(server, transport="shared_memory") as client:
        client.cross_entropy(LOGITS, TARGET, grad=True)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(300):
            client.cross_entropy(LOGITS, TARGET, grad=True)
            assert client.empty(SHAPE).size
        assert leased_bytes(server) <= 3 * MIB
        assert len(os.listdir("/proc/self/fd")) <= before + 6
    eventually(lambda: leased_bytes(server) == 0)
