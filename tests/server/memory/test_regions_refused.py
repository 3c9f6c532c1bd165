"""Mistakes of callers with regions, and their consequences."""

import os
import threading

import grpc
import numpy as np
import pytest
import torch

from losswire import v1
from tests.helpers import eventually
from tests.server.memory.shared_memory import (
    LOGITS,
    PAGE,
    TARGET,
    leased,
    leased_bytes,
    refused,
    regions_open_in,
    request,
    sent,
)


@pytest.mark.parametrize("offset", [-4, 2, 2**20, 2**20 - LOGITS.nbytes + 4, 2**63 - 4, 2**63 - 1, -(2**63)])
def test_place_outside_the_region_is_refused(stub, offset):
    with leased(stub) as region:
        input, target = region.tensor("float32", LOGITS.shape, offset), sent(TARGET)
        code, _, violations = refused(lambda: stub.Evaluate(request(input, target)))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(violations) == ["input.shared_memory.offset_bytes"]
        right = request(sent(LOGITS), target)
        right.outputs.gradient.destination.CopyFrom(region.span(offset))
        assert list(refused(lambda: stub.Evaluate(right))[2]) == ["outputs.gradient.destination.offset_bytes"]


@pytest.mark.parametrize("shape", [[2**59, 1], [2**30, 2**29], [2**20, 2**20], [2**60 - 1]])
def test_shape_beyond_the_region_is_refused(stub, shape):
    with leased(stub) as region:
        beyond = region.tensor("float32", shape, 4)
        code, _, violations = refused(lambda: stub.Evaluate(request(beyond, beyond)))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(violations) == ["input.shared_memory.offset_bytes"]


@pytest.mark.parametrize("region_id", ["", "..", "/dev/mem", "\0", "x" * 10_000, "losswire"])
def test_region_that_nobody_leased_is_refused(stub, region_id):
    span = v1.SharedMemorySpan(region_id=region_id)
    input = v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=LOGITS.shape, shared_memory=span)
    code, _, violations = refused(lambda: stub.Evaluate(request(input, sent(TARGET))))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert violations == {
        "input.shared_memory.region_id": "expected the id of a region that is leased, got an unknown one"
    }


def test_region_whose_lease_is_over_is_refused(server, stub):
    with leased(stub) as region:
        wanted = request(region.put(LOGITS), sent(TARGET))
        stub.Evaluate(wanted)
    eventually(lambda: leased_bytes(server) == 0)
    assert list(refused(lambda: stub.Evaluate(wanted))[2]) == ["input.shared_memory.region_id"]


def test_region_ids_cannot_be_guessed(regions):
    ids = {regions.lease(1).region_id for _ in range(50)}
    assert len(ids) == 50
    assert min(map(len, ids)) == 22


@pytest.mark.parametrize("offset", [0, 4, LOGITS.nbytes - 4, 2**19 - 4])
def test_overlapping_gradient_is_refused(stub, offset):
    probabilities = np.full_like(LOGITS, 0.01)
    with leased(stub) as region:
        wanted = request(region.put(LOGITS), region.put(probabilities, 2**19))
        wanted.outputs.gradient.destination.CopyFrom(region.span(offset))
        assert list(refused(lambda: stub.Evaluate(wanted))[2]) == ["outputs.gradient.destination"]


def test_memory_outlives_its_lease(regions):
    lease = regions.lease(2**16)
    span = v1.SharedMemorySpan(region_id=lease.region_id)
    used = regions.view(span, "input", torch.float32, (100,))
    regions.release(lease.region_id)
    assert used.fill_(1).sum() == 100
    assert regions.leased_bytes == 2**16
    del used
    assert regions.leased_bytes == 0


@pytest.mark.parametrize("scribbled", ["target", "input", "everything"])
def test_writing_harms_the_writer_alone(stub, scribbled):
    logits, target = np.repeat(LOGITS, 32, 0), np.repeat(TARGET, 32)
    with leased(stub, 4 * logits.nbytes) as region:
        wanted = request(region.put(logits), region.put(target, 2 * logits.nbytes))
        wanted.outputs.gradient.destination.CopyFrom(region.span(logits.nbytes))
        wanted.outputs.outputs.append(v1.Output.OUTPUT_PREDICTIONS)
        start = 2 * logits.nbytes if scribbled == "target" else 0
        end = logits.nbytes if scribbled == "input" else 2 * logits.nbytes + target.nbytes
        bytes_ = region.view(np.uint8, (len(region.mapping),), 0)[start:end]
        with scribbling(bytes_):
            statuses = {evaluated(stub, wanted) for _ in range(40)}
            others = {stub.Evaluate(request(sent(LOGITS), sent(TARGET))).loss_sum for _ in range(10)}
    assert statuses <= {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
    assert others == {stub.Evaluate(request(sent(LOGITS), sent(TARGET))).loss_sum}


class scribbling:  # noqa: N801 - reads as a function
    """Random bits, in a thread, for as long as a block of code lasts."""

    def __init__(self, memory: np.ndarray) -> None:
        self._memory, self._over = memory, threading.Event()
        self._thread = threading.Thread(target=self._scribble)

    def _scribble(self) -> None:
        valid, noise = self._memory.copy(), np.random.default_rng(0).bytes(len(self._memory))
        while not self._over.is_set():  # right bits as often as wrong ones, so that both pass the checks
            np.copyto(self._memory, np.frombuffer(noise, np.uint8))
            np.copyto(self._memory, valid)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def evaluated(stub, wanted) -> grpc.StatusCode:
    try:
        stub.Evaluate(wanted)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_hundreds_of_leases_leave_nothing(server, stub):
    def lease_and_evaluate():
        with leased(stub) as region:
            stub.Evaluate(request(region.put(LOGITS), sent(TARGET)))

    def used():
        return len(os.listdir("/proc/self/fd")), regions_open_in(os.getpid()), leased_bytes(server)

    lease_and_evaluate()  # a warm-up
    eventually(lambda: leased_bytes(server) == 0)
    before, memory = used(), resident_bytes()
    for _ in range(300):
        lease_and_evaluate()
    eventually(lambda: all(now <= then for now, then in zip(used(), before, strict=True)))
    assert resident_bytes() < memory + 50 * 2**20  # 300 regions of 1 MiB would be 300


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * PAGE
