"""Shared memory as a caller in any language uses it, and misuses it."""

import asyncio
import ctypes
import errno
import fcntl
import itertools
import mmap
import os
import threading
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from losswire import v1
from losswire.errors import FieldError
from losswire_server.errors import NotPermittedError, OverloadedError
from losswire_server.memory.leases import Leases, is_local
from losswire_server.memory.regions import Regions
from losswire_server.requests.one import evaluate
from tests.ce_engine.helpers import PROBLEMS, SHAPES, problem
from tests.helpers import call_of, eventually, serving
from tests.server.memory.shared_memory import connected, leased, leased_bytes, regions_open_in

PAGE = mmap.PAGESIZE
LOGITS = np.random.default_rng(0).standard_normal((64, 100), np.float32)
TARGET = np.arange(64) % 100


@pytest.fixture(scope="module")
def server():
    """With no other callers, so that what is leased is leased to these tests."""
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def stub(server):
    with connected(f"127.0.0.1:{server.port}") as stub:
        yield stub


@pytest.fixture
def regions():
    regions = Regions(2**20)
    yield regions
    regions.close()


def request(input: v1.Tensor, target: v1.Tensor) -> v1.EvaluateRequest:
    spec = v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy())
    return v1.EvaluateRequest(spec=spec, input=input, target=target)


def sent(array: np.ndarray) -> v1.Tensor:
    return v1.Tensor(dtype=v1.Dtype.Value(f"DTYPE_{array.dtype.name.upper()}"), shape=array.shape, data=array.tobytes())


def refused(call) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Status, reason and violations of a call that fails."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    found = {}
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in rpc_status.from_call(call_of(raised.value)).details:
        detail.Unpack(info)
        if detail.Unpack(request):
            found = {violation.field: violation.description for violation in request.field_violations}
    return raised.value.code(), info.reason, found


def lease_of(stub, size):
    return next(stub.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=size)))


# The lease.


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
    with serving(shared_memory_bytes=4 * PAGE) as server, connected(f"127.0.0.1:{server.port}") as stub:
        with leased(stub, 3 * PAGE):
            assert leased_bytes(server) == 3 * PAGE
            code, reason, _ = refused(lambda: lease_of(stub, 2 * PAGE))
            assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        eventually(lambda: leased_bytes(server) == 0)
        with leased(stub, 4 * PAGE):
            assert leased_bytes(server) == 4 * PAGE


@pytest.mark.parametrize("size", [4 * PAGE + 1, 2**63 - 1])
def test_size_above_the_quota_never_fits(size):
    with serving(shared_memory_bytes=4 * PAGE) as server, connected(f"127.0.0.1:{server.port}") as stub:
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
    call = stub.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=PAGE), timeout=0.3)
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


# Evaluations.


@pytest.mark.parametrize("offset", [0, 4, 64, 4096])
def test_region_has_the_bits_of_a_message(stub, offset):
    expected = stub.Evaluate(request(sent(LOGITS), sent(TARGET)))
    with leased(stub) as region:
        assert stub.Evaluate(request(region.put(LOGITS, offset), region.put(TARGET, 2**19))) == expected
        assert stub.Evaluate(request(region.put(LOGITS, offset), sent(TARGET))) == expected


def in_region(regions: Regions, given: v1.EvaluateRequest) -> v1.EvaluateRequest:
    """The same request with all of its tensors in a region, one behind the other from an odd place on."""
    lease = regions.lease(2**16)
    offset, mapping = itertools.count(8, 4096), regions._regions[lease.region_id].mapping
    placed = v1.EvaluateRequest()
    placed.CopyFrom(given)
    for message in tensors_of(placed):
        start, data = next(offset), message.data
        mapping[start : start + len(data)] = data
        message.shared_memory.region_id, message.shared_memory.offset_bytes = lease.region_id, start
    if placed.outputs.HasField("gradient"):
        destination = placed.outputs.gradient.destination
        destination.region_id, destination.offset_bytes = lease.region_id, next(offset)
    return placed


def tensors_of(message):
    for field, value in message.ListFields():
        if isinstance(value, v1.Tensor):
            yield value
        elif field.message_type is not None and not field.is_repeated:
            yield from tensors_of(value)


def request_of(given, **gradient) -> v1.EvaluateRequest:
    """A problem of the engine's tests as a request, its incoming gradient and weights of samples with it."""

    def tensor(x):
        data = x.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return v1.Tensor(dtype=wire(x.dtype), shape=x.shape, data=data)

    losses, dtype = given.ours(reduction="none").loss, given.input.dtype
    options = {name: tensor(x) if isinstance(x, torch.Tensor) else x for name, x in given.options.items()}
    of_loss: dict[str, Any] = {given.loss: options}
    return v1.EvaluateRequest(
        spec=v1.LossSpec(reduction=v1.Reduction.REDUCTION_NONE, **of_loss),
        input=tensor(given.input),
        target=tensor(given.target),
        sample_weight=tensor(torch.linspace(0, 2, losses.numel(), dtype=dtype).reshape(losses.shape)),
        outputs=v1.OutputSpec(gradient=v1.GradientSpec(grad_output=tensor(torch.rand(losses.shape)), **gradient)),
    )


def wire(dtype: torch.dtype):
    return v1.Dtype.Value(f"DTYPE_{str(dtype).removeprefix('torch.').upper()}")


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_tensor_may_lie_in_a_region(regions, kind, dtype, shape):
    given = request_of(problem(kind, shape[0], dtype))
    expected, placed = evaluate(given), in_region(regions, given)
    response = evaluate(placed, regions)
    assert_same_but_for_the_gradients_place(response, expected, placed, regions)


@pytest.mark.parametrize("grad_dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_gradient_of_other_dtype_in_a_region(regions, grad_dtype):
    given = request_of(problem("cross_entropy", (4, 5, 3), torch.float16), dtype=wire(grad_dtype))
    expected, placed = evaluate(given), in_region(regions, given)
    assert_same_but_for_the_gradients_place(evaluate(placed, regions), expected, placed, regions)


def assert_same_but_for_the_gradients_place(response, expected, placed, regions):
    destination, gradient = placed.outputs.gradient.destination, response.gradient
    assert gradient.shared_memory == destination
    mapping, start = regions._regions[destination.region_id].mapping, destination.offset_bytes
    gradient.data = mapping[start : start + len(expected.gradient.data)]
    assert response.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


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


@pytest.mark.parametrize("shape", [[2**62, 1], [2**31, 2**31], [2**20, 2**20], [2**63 - 1]])
def test_shape_beyond_the_region_is_refused(stub, shape):
    with leased(stub) as region:
        beyond = region.tensor("float32", shape, 4)
        code, _, violations = refused(lambda: stub.Evaluate(request(beyond, beyond)))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert list(violations) == ["input.shared_memory.offset_bytes"]


def test_last_bytes_of_a_region_may_be_used(stub):
    with leased(stub) as region:
        response = stub.Evaluate(request(region.put(LOGITS, 2**20 - LOGITS.nbytes), sent(TARGET)))
        assert response.loss == stub.Evaluate(request(sent(LOGITS), sent(TARGET))).loss


def test_empty_tensor_may_lie_at_the_end(regions):
    lease = regions.lease(PAGE)
    span = v1.SharedMemorySpan(region_id=lease.region_id, offset_bytes=PAGE)
    assert regions.view(span, "input", torch.float32, (0, 5)).shape == (0, 5)
    span.offset_bytes += 4
    with pytest.raises(FieldError):
        regions.view(span, "input", torch.float32, (0, 5))


@pytest.mark.parametrize("region_id", ["", "..", "/dev/mem", "\0", "x" * 10_000, "losswire"])
def test_region_that_nobody_leased_is_refused(stub, region_id):
    span = v1.SharedMemorySpan(region_id=region_id)
    input = v1.Tensor(dtype=v1.Dtype.DTYPE_FLOAT32, shape=LOGITS.shape, shared_memory=span)
    code, _, violations = refused(lambda: stub.Evaluate(request(input, sent(TARGET))))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert violations == {
        "input.shared_memory.region_id": "expected a region whose lease lasts, got one that is not known"
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


# Misuse while an evaluation is under way.


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
        while not self._over.is_set():  # what is right as often as what is wrong, so that both get past the checks
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

    lease_and_evaluate()  # so that what is set up once is there
    eventually(lambda: leased_bytes(server) == 0)
    before, memory = used(), resident_bytes()
    for _ in range(300):
        lease_and_evaluate()
    eventually(lambda: all(now <= then for now, then in zip(used(), before, strict=True)))
    assert resident_bytes() < memory + 50 * 2**20  # 300 regions of 1 MiB would be 300


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * PAGE
