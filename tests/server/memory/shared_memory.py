"""A caller for tests of shared memory that does everything by hand."""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from losswire import v1
from losswire.dtypes import BY_NAME
from losswire.v1 import loss_service_pb2_grpc
from losswire_server import Server
from tests.helpers import call_of
from tests.present import present

PAGE = mmap.PAGESIZE
LOGITS = np.random.default_rng(0).standard_normal((64, 100), np.float32)
TARGET = np.arange(64) % 100


@dataclass(frozen=True)
class Leased:
    """A region that is leased and mapped."""

    region_id: str
    descriptor: int
    mapping: mmap.mmap

    def put(self, array: np.ndarray, offset: int = 0) -> v1.Tensor:
        """Copies an array to the region, and returns the tensor that refers to it."""
        self.view(array.dtype, array.shape, offset)[...] = array
        return self.tensor(array.dtype.name, array.shape, offset)

    def view(self, dtype, shape, offset: int = 0) -> np.ndarray:
        return np.frombuffer(self.mapping, dtype, int(np.prod(shape)), offset).reshape(shape)

    def tensor(self, dtype: str, shape, offset: int = 0) -> v1.Tensor:
        return v1.Tensor(dtype=BY_NAME[dtype].wire, shape=shape, shared_memory=self.span(offset))

    def span(self, offset: int = 0) -> v1.SharedMemorySpan:
        return v1.SharedMemorySpan(region_id=self.region_id, offset_bytes=offset)


@contextmanager
def leased(stub: loss_service_pb2_grpc.LossServiceStub, size: int = 2**20) -> Iterator[Leased]:
    call = stub.LeaseSharedMemory(v1.LeaseSharedMemoryRequest(size_bytes=size))
    try:
        lease = next(call)
        descriptor = os.open(lease.path, os.O_RDWR)
        try:
            yield Leased(lease.region_id, descriptor, mmap.mmap(descriptor, lease.size_bytes))
        finally:
            os.close(descriptor)
    finally:
        call.cancel()


@contextmanager
def connected(target: str) -> Iterator[loss_service_pb2_grpc.LossServiceStub]:
    with grpc.insecure_channel(target) as channel:
        yield loss_service_pb2_grpc.LossServiceStub(channel)


def leased_bytes(server: Server) -> float:
    return present(server.registry.get_sample_value("losswire_shared_memory_bytes"))


def regions_open_in(pid: int) -> int:
    """The number of open descriptors of regions in a process."""
    count = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += "memfd:losswire-" in os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:  # closed meanwhile
            continue
    return count


def request(input: v1.Tensor, target: v1.Tensor) -> v1.EvaluateRequest:
    spec = v1.LossSpec(reduction=v1.Reduction.REDUCTION_MEAN, cross_entropy=v1.CrossEntropy())
    return v1.EvaluateRequest(spec=spec, input=input, target=target)


def sent(array: np.ndarray) -> v1.Tensor:
    return v1.Tensor(dtype=v1.Dtype.Value(f"DTYPE_{array.dtype.name.upper()}"), shape=array.shape, data=array.tobytes())


def refused(call) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Status, reason and violations of a failed call."""
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
