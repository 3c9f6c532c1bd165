"""Shared memory as users of the SDK meet it."""

import fcntl
import gc
import mmap
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import ml_dtypes
import numpy as np
import pytest
import torch

import losswire_server.evaluator
from losswire import v1
from losswire_client import (
    Client,
    DeadlineExceededError,
    InvalidArgumentError,
    LosswireError,
    NotServedError,
    OverloadedError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from losswire_client import _region_pool as region_pool
from losswire_client._region import Region
from tests.client.verdicts import unchecked
from tests.helpers import eventually, serving
from tests.server.shared_memory import leased_bytes

MIB = 2**20
SHAPE = (256, 1000)  # about a MiB of float32, so that it does not travel in the request
LOGITS = np.random.default_rng(0).standard_normal(SHAPE, np.float32)
TARGET = np.random.default_rng(1).integers(0, 1000, 256)
PROBABILITIES = np.random.default_rng(2).random(SHAPE, np.float32)


@pytest.fixture(scope="module")
def shared(target):
    with Client(target, timeout=20, transport="shared_memory") as connected:
        yield connected


@pytest.fixture
def alone():
    """A server with no other callers, and its client."""
    with serving(shared_memory_bytes=8 * MIB) as server, connected(server) as client:
        yield server, client


def connected(server, **options):
    return Client(f"127.0.0.1:{server.port}", timeout=20, **options)


def resident(client: Client, array) -> np.ndarray:
    place = client.empty(array.shape, array.dtype)
    place[...] = array
    return place


def in_a_region(client: Client, array) -> bool:
    return client._session.shared.holds(array)


def assert_same(a, b):
    for name in ("loss", "grad", "lse", "predictions"):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name
    assert (a.loss_sum, a.weight_sum, a.row_count) == (b.loss_sum, b.weight_sum, b.row_count)


WANTED = {"grad": True, "reduction": "none", "outputs": ("lse", "predictions")}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_result_has_the_bits_of_one_whose_batch_was_sent(client, shared, dtype):
    logits = LOGITS.astype(dtype)
    sent = client.cross_entropy(logits, TARGET, **WANTED)
    place = resident(client, logits)
    assert place.dtype == dtype
    assert in_a_region(client, place)
    for result, owner in (
        (client.cross_entropy(place, TARGET, **WANTED), client),
        (shared.cross_entropy(logits, TARGET, **WANTED), shared),
    ):
        assert_same(result, sent)
        assert in_a_region(owner, result.grad)
        assert result.grad.dtype == dtype


def test_every_loss_gives_the_same_bits(client, shared):
    log_p, weight = np.log(PROBABILITIES), np.random.default_rng(3).random(SHAPE, np.float32)
    sample_weight = np.linspace(0, 2, 256)
    calls = [
        lambda c: c.cross_entropy(LOGITS, PROBABILITIES, label_smoothing=0.1, sample_weight=sample_weight, grad=True),
        lambda c: c.nll_loss(log_p, TARGET, ignore_index=3, grad=True, reduction="sum"),
        lambda c: c.binary_cross_entropy(PROBABILITIES, PROBABILITIES, weight, grad=True),
        lambda c: c.binary_cross_entropy_with_logits(LOGITS, PROBABILITIES, pos_weight=weight, grad=True),
        lambda c: c.binary_cross_entropy(PROBABILITIES, weight, reduction="none", grad=True, grad_output=weight),
    ]
    for call in calls:
        a, b = call(client), call(shared)
        assert np.array_equal(a.loss, b.loss)
        assert np.array_equal(a.grad, b.grad)
        assert in_a_region(shared, b.grad)


@pytest.mark.parametrize("shape", [(64, 100, 50), (4, 100, 30, 40)], ids=["sequence", "image"])
def test_class_dimension_need_not_be_the_last(client, shared, shape):
    logits = np.random.default_rng(0).standard_normal(shape, np.float32)
    target = np.random.default_rng(1).integers(0, 100, shape[:1] + shape[2:])
    assert_same(shared.cross_entropy(logits, target, **WANTED), client.cross_entropy(logits, target, **WANTED))


@pytest.mark.parametrize(
    "view", [lambda x: x[3:], lambda x: x[5], lambda x: x.reshape(500, 512), lambda x: torch.from_numpy(x)[1:].numpy()]
)
def test_contiguous_view_of_a_resident_array_is_not_copied(client, view):
    place = resident(client, LOGITS)
    part = view(place)
    assert in_a_region(client, part)
    target = np.resize(TARGET, len(part)) % 512 if part.ndim == 2 else 7
    assert client.cross_entropy(part, target).loss == client.cross_entropy(part.copy(), target).loss


@pytest.mark.parametrize("view", [lambda x: x[:, ::2], lambda x: x[::-1], lambda x: x.T[:256].copy(order="F")])
def test_other_views_are_copied_and_right(client, shared, view):
    part = view(resident(client, LOGITS))
    assert not in_a_region(client, part)
    target = TARGET[: len(part)] % part.shape[1]
    expected = client.cross_entropy(np.ascontiguousarray(part), target).loss
    assert client.cross_entropy(part, target).loss == shared.cross_entropy(part, target).loss == expected


def test_torch_tensor_over_a_resident_array_is_not_copied(client):
    place = torch.from_numpy(resident(client, LOGITS))
    result = client.cross_entropy(place, torch.from_numpy(TARGET), grad=True)
    assert in_a_region(client, result.grad)
    assert result.loss == client.cross_entropy(LOGITS, TARGET).loss


def test_small_arrays_travel_in_the_request(alone):
    server, _ = alone
    with connected(server, transport="shared_memory") as client:
        assert client.cross_entropy(LOGITS[:3], TARGET[:3], grad=True).row_count == 3
    assert leased_bytes(server) == 0


def test_big_endian_input_is_copied_in_the_order_of_the_contract(shared):
    swapped = LOGITS.astype(">f4")
    result = shared.cross_entropy(swapped, TARGET, grad=True)
    assert result.loss == shared.cross_entropy(LOGITS, TARGET).loss
    assert result.grad.dtype.isnative


# What the memory belongs to.


def test_region_cannot_be_truncated_from_here(client):
    place = resident(client, LOGITS)
    (region,) = [region for region in client._session.shared._pool._regions.values() if region.span_of(place)]
    descriptors = [name for name in os.listdir("/proc/self/fd") if region.region_id in target_of(name)]
    assert descriptors
    for name in descriptors:
        for size in (0, 2**30):
            with pytest.raises(PermissionError):
                os.ftruncate(int(name), size)
        with pytest.raises(PermissionError):
            fcntl.fcntl(int(name), fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def target_of(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


def test_region_goes_to_the_next_array_when_the_last_view_is_gone(alone):
    server, client = alone
    place = client.empty(SHAPE)
    address, view = place.ctypes.data, place[3:, 5]
    del place
    assert client.empty(SHAPE).ctypes.data != address
    del view
    assert client.empty(SHAPE).ctypes.data == address
    assert leased_bytes(server) <= 3 * MIB


def test_gradients_are_not_overwritten_while_somebody_has_them(shared):
    gradients = [shared.cross_entropy(LOGITS * k, TARGET, grad=True).grad for k in range(6)]
    again = [shared.cross_entropy(LOGITS * k, TARGET, grad=True).grad for k in range(6)]
    assert all(np.array_equal(a, b) for a, b in zip(gradients, again, strict=True))
    assert len({gradient.ctypes.data for gradient in gradients + again}) == 12


def test_idle_regions_beyond_the_bound_go_back_to_the_server(alone, monkeypatch):
    server, client = alone
    monkeypatch.setattr(region_pool, "KEPT_BYTES", 2 * MIB)
    places = [client.empty(MIB, "uint8") for _ in range(6)]
    assert leased_bytes(server) == 6 * MIB
    places.clear()
    eventually(lambda: leased_bytes(server) == 2 * MIB)


def test_memory_that_is_used_up_is_said_so_and_idle_regions_make_room(alone):
    _, client = alone
    place = client.empty(5 * MIB, "uint8")
    with pytest.raises(OverloadedError, match="leased") as raised:
        client.empty(4 * MIB, "uint8")
    assert raised.value.retry_seconds > 0
    del place
    eventually(lambda: had(client, 8 * MIB))  # the server frees a region a moment after its lease ends


def had(client: Client, size: int) -> bool:
    try:
        client.empty(size, "uint8")
    except OverloadedError:
        return False
    return True


def test_array_larger_than_the_quota_is_said_never_to_fit(alone):
    _, client = alone
    with pytest.raises(ResourceExhaustedError, match="never fits") as raised:
        client.empty(9 * MIB, "uint8")
    assert not isinstance(raised.value, OverloadedError)


def test_resident_batch_whose_gradient_finds_no_room_takes_another_transport(alone):
    _, client = alone
    place = resident(client, np.resize(LOGITS, (1024, 1000)))
    rest = client.empty(3 * MIB, "uint8")
    result = client.cross_entropy(place, np.resize(TARGET, 1024), grad=True)
    assert not in_a_region(client, result.grad)
    assert np.array_equal(result.grad[0], client.cross_entropy(place, np.resize(TARGET, 1024), grad=True).grad[0])
    assert len(rest)


def test_arrays_outlive_client_and_server():
    with serving() as server:
        with connected(server, transport="shared_memory") as client:
            place, gradient = resident(client, LOGITS), client.cross_entropy(LOGITS, TARGET, grad=True).grad
        eventually(lambda: leased_bytes(server) == 0)
        before = gradient.copy()
        assert np.array_equal(place, LOGITS)
    place *= 2
    assert np.array_equal(place, LOGITS * 2)
    assert np.array_equal(gradient, before)
    with serving() as another, connected(another) as client:
        assert client.cross_entropy(place, TARGET).loss == client.cross_entropy(LOGITS * 2, TARGET).loss


def test_closed_client_gives_no_memory(server):
    client = connected(server)
    client.close()
    with pytest.raises(LosswireError, match="closed"):
        client.empty(3)


def test_collecting_arrays_after_the_client_was_closed_does_no_harm(server):
    with connected(server) as client:
        place = client.empty(SHAPE)
    del place
    gc.collect()


def test_threads_do_not_disturb_each_other(client, shared):
    batches = [LOGITS * k for k in range(8)]
    expected = [client.cross_entropy(batch, TARGET, grad=True) for batch in batches]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            results = list(threads.map(lambda batch: shared.cross_entropy(batch, TARGET, grad=True), batches))
            assert all(a.loss == b.loss for a, b in zip(results, expected, strict=True))
            assert all(np.array_equal(a.grad, b.grad) for a, b in zip(results, expected, strict=True))


# What goes wrong.


def test_server_that_shares_no_memory_is_said_so_and_other_calls_work():
    with serving(shared_memory_bytes=0) as server:
        with connected(server) as client:
            assert client.capabilities().shared_memory_bytes == 0
            with pytest.raises(NotServedError, match="leases no shared memory"):
                client.empty(3)
            assert client.cross_entropy(LOGITS, TARGET).row_count == 256
        with connected(server, transport="shared_memory") as client, pytest.raises(NotServedError):
            client.cross_entropy(LOGITS, TARGET)


def test_restarted_server_gets_batches_of_the_old_ones_regions(monkeypatch):
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
def test_path_that_leads_elsewhere_is_never_mapped(alone, monkeypatch, change, said):
    server, client = alone

    def misled(lease, *more):
        change(lease)
        return Region(lease, *more)

    monkeypatch.setattr("losswire_client._wire.Region", misled)
    with pytest.raises(PermissionDeniedError, match=said):
        client.empty(SHAPE)
    eventually(lambda: leased_bytes(server) == 0)


def test_file_that_could_shrink_is_never_mapped():
    descriptor = os.memfd_create("losswire-unsealed", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, mmap.PAGESIZE)
    path = f"/proc/{os.getpid()}/fd/{descriptor}"
    lease = v1.LeaseSharedMemoryResponse(region_id="unsealed", path=path, size_bytes=mmap.PAGESIZE)
    with pytest.raises(PermissionDeniedError):
        Region(lease, bool, bool)
    os.close(descriptor)


def test_wrong_target_is_named_as_the_user_wrote_it_and_the_next_call_works(shared):
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
def test_wrong_span_is_told_by_the_arguments_name(shared, monkeypatch, change, argument):
    wire = shared._connection.wire()
    call = wire._stub.Evaluate

    def wrong(request, **options):
        change(request)
        return call(request, **options)

    monkeypatch.setattr(wire._stub, "Evaluate", wrong)
    with pytest.raises(InvalidArgumentError) as raised:
        shared.cross_entropy(LOGITS, TARGET, grad=True)
    assert raised.value.argument == argument


def test_region_of_a_call_that_was_given_up_is_not_used_again(alone, monkeypatch):
    server, _ = alone
    opened, evaluate = threading.Event(), losswire_server.evaluator.evaluate

    def slow(*arguments):
        assert opened.wait(30)
        return evaluate(*arguments)

    monkeypatch.setattr("losswire_server.evaluator.evaluate", slow)
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
def test_array_has_the_shape_that_was_asked_for(client, shape):
    array = client.empty(shape, np.int16)
    assert array.shape == np.empty(shape).shape
    array[...] = 7
    assert (array == 7).all()


def test_unknown_transport_is_refused(target):
    with pytest.raises(InvalidArgumentError, match="unary") as raised:
        Client(target, transport="pigeon")
    assert raised.value.argument == "transport"


def test_hundreds_of_calls_leave_nothing_behind(alone):
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
