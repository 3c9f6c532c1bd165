"""Shared memory for users of the SDK."""

import fcntl
import gc
import os
from concurrent.futures import ThreadPoolExecutor

import ml_dtypes
import numpy as np
import pytest
import torch

from losswire_client import (
    Client,
    LosswireError,
    OverloadedError,
    ResourceExhaustedError,
)
from losswire_client._transports import region_pool
from tests.client.transports.residents import LOGITS, MIB, SHAPE, TARGET, connected, in_a_region, resident
from tests.helpers import eventually, serving
from tests.server.memory.shared_memory import leased_bytes

PROBABILITIES = np.random.default_rng(2).random(SHAPE, np.float32)


def assert_same(a, b):
    for name in ("loss", "grad", "lse", "entropy", "predictions"):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name
    assert (a.loss_sum, a.weight_sum, a.row_count) == (b.loss_sum, b.weight_sum, b.row_count)


WANTED = {"grad": True, "reduction": "none", "outputs": ("lse", "entropy", "predictions")}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_shared_memory_has_the_bits_of_unary(client, shared, dtype):
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
def test_view_of_resident_array_is_not_copied(client, view):
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


def test_resident_tensor_is_not_copied(client):
    place = torch.from_numpy(resident(client, LOGITS))
    result = client.cross_entropy(place, torch.from_numpy(TARGET), grad=True)
    assert in_a_region(client, result.grad)
    assert result.loss == client.cross_entropy(LOGITS, TARGET).loss


def test_small_arrays_travel_in_the_request(alone):
    server, _ = alone
    with connected(server, transport="shared_memory") as client:
        assert client.cross_entropy(LOGITS[:3], TARGET[:3], grad=True).row_count == 3
    assert leased_bytes(server) == 0


def test_big_endian_input_is_converted(shared):
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


def test_region_is_used_again_without_views(alone):
    server, client = alone
    place = client.empty(SHAPE)
    address, view = place.ctypes.data, place[3:, 5]
    del place
    assert client.empty(SHAPE).ctypes.data != address
    del view
    assert client.empty(SHAPE).ctypes.data == address
    assert leased_bytes(server) <= 3 * MIB


def test_held_gradients_are_not_overwritten(shared):
    gradients = [shared.cross_entropy(LOGITS * k, TARGET, grad=True).grad for k in range(6)]
    again = [shared.cross_entropy(LOGITS * k, TARGET, grad=True).grad for k in range(6)]
    assert all(np.array_equal(a, b) for a, b in zip(gradients, again, strict=True))
    assert len({gradient.ctypes.data for gradient in gradients + again}) == 12


def test_idle_regions_go_back_to_the_server(alone, monkeypatch):
    server, client = alone
    monkeypatch.setattr(region_pool, "KEPT_BYTES", 2 * MIB)
    places = [client.empty(MIB, "uint8") for _ in range(6)]
    assert leased_bytes(server) == 6 * MIB
    places.clear()
    eventually(lambda: leased_bytes(server) == 2 * MIB)


def test_idle_regions_make_room(alone):
    _, client = alone
    place = client.empty(5 * MIB, "uint8")
    with pytest.raises(OverloadedError, match="leases") as raised:
        client.empty(4 * MIB, "uint8")
    assert raised.value.retry_seconds > 0
    del place
    eventually(lambda: had(client, 8 * MIB))  # the server frees a region some time after its lease ends


def had(client: Client, size: int) -> bool:
    try:
        client.empty(size, "uint8")
    except OverloadedError:
        return False
    return True


def test_array_above_the_quota_never_fits(alone):
    _, client = alone
    with pytest.raises(ResourceExhaustedError, match="can never be leased") as raised:
        client.empty(9 * MIB, "uint8")
    assert not isinstance(raised.value, OverloadedError)


def test_gradient_without_room_is_sent(alone):
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


def test_arrays_may_outlive_the_client(server):
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
