"""A service that keeps runs, behind a real gRPC server: `LossService` and `RunService`, in memory and in numpy."""

# ruff: noqa: N802 - methods have the names of the contract's

import fcntl
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.rpc import status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from losswire import v1
from losswire.dtypes import BY_WIRE
from losswire.fields import tensors_in
from losswire.frames import REQUESTS, SlabFrame
from losswire.v1 import loss_service_pb2
from losswire.v1.run_service_pb2_grpc import RunServiceServicer, add_RunServiceServicer_to_server
from tests.client.runs.fake_losses import Rows, answer
from tests.client.runs.fake_store import FINISHED, RefusedError, Store, page

NAME = loss_service_pb2.DESCRIPTOR.services_by_name["LossService"].full_name
LIMITS = v1.RunLimits(max_request_keys=3, max_key_bytes=512, max_classes=100)


@dataclass
class FakeService:
    """What the servicers share.

    Attributes:
        store: The runs.
        target: The address.
        refusals: Errors for the next calls, one each, instead of an answer.
        lost: Errors for the next evaluations, one each, after their key was counted.
        transports: How evaluations came.
        asked: The requests of `RunService`.
        watchers: Calls of `WatchRun` that are under way.
    """

    store: Store = field(default_factory=Store)
    target: str = ""
    refusals: list[RefusedError] = field(default_factory=list)
    lost: list[RefusedError] = field(default_factory=list)
    transports: list[str] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    watchers: int = 0

    def evaluate(self, request: v1.EvaluateRequest, arrays: dict[str, np.ndarray[Any, Any]]) -> v1.EvaluateResponse:
        rows = Rows(request.spec, arrays)
        response = answer(request, rows)
        if request.HasField("run_key"):
            has_predictions = v1.Output.OUTPUT_PREDICTIONS in request.outputs.outputs
            sums = rows.sums(has_predictions=has_predictions)
            by_class = rows.by_class(has_predictions=has_predictions)
            response.was_counted = self.store.count(request, sums, by_class)
        if self.lost:
            raise self.lost.pop(0)
        return response


class Losses:
    """Large messages come and go as bytes, as they do at the real server."""

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self._regions: dict[str, int] = {}

    def Evaluate(self, data: bytes, context: grpc.ServicerContext) -> v1.EvaluateResponse:
        request = v1.EvaluateRequest.FromString(data)
        self._service.transports.append("shared_memory" if request.input.HasField("shared_memory") else "unary")
        with ending(context, self._service):
            return self._service.evaluate(request, self._arrays(request))

    def BatchEvaluate(self, request: v1.BatchEvaluateRequest, context: grpc.ServicerContext) -> Any:
        self._service.transports.append(f"pack of {len(request.requests)}")
        with ending(context, self._service):
            return v1.BatchEvaluateResponse(results=[self._result(one) for one in request.requests])

    def EvaluateStream(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self._service.transports.append("stream")
        with ending(context, self._service):
            header, slabs = REQUESTS.read(next(messages)), [REQUESTS.read(message) for message in messages]
            assert isinstance(header, v1.EvaluateRequest)
            for slab in slabs:
                assert isinstance(slab, SlabFrame)
                for name, data in slab.payloads.items():
                    tensor = getattr(header, name)
                    tensor.data += bytes(data)
            response = self._service.evaluate(header, self._arrays(header))
            yield v1.EvaluateStreamResponse(summary=response).SerializeToString()

    def GetCapabilities(self, *_: object) -> v1.GetCapabilitiesResponse:
        limits = v1.Limits(max_message_bytes=2**22, slab_bytes=2**14, shared_memory_bytes=2**24, max_batch_requests=64)
        transports = [v1.Transport.TRANSPORT_UNARY, v1.Transport.TRANSPORT_STREAM, v1.Transport.TRANSPORT_SHARED_MEMORY]
        return v1.GetCapabilitiesResponse(limits=limits, transports=transports, run_limits=LIMITS)

    def LeaseSharedMemory(self, request: Any, context: grpc.ServicerContext) -> Iterator[v1.LeaseSharedMemoryResponse]:
        name = os.urandom(16).hex()
        memory = os.memfd_create(f"losswire-{name}", os.MFD_ALLOW_SEALING)
        os.ftruncate(memory, request.size_bytes)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self._regions[name] = memory
        if not context.add_callback(lambda: os.close(self._regions.pop(name))):
            return
        path = f"/proc/{os.getpid()}/fd/{memory}"
        yield v1.LeaseSharedMemoryResponse(region_id=name, path=path, size_bytes=request.size_bytes)
        while context.is_active():
            time.sleep(0.01)

    def _result(self, request: v1.EvaluateRequest) -> v1.EvaluateResult:
        try:
            return v1.EvaluateResult(response=self._service.evaluate(request, self._arrays(request)))
        except RefusedError as error:
            status = status_of(error).SerializeToString()
            return v1.EvaluateResult(failure=v1.Failure.FromString(status))

    def _arrays(self, request: v1.EvaluateRequest) -> dict[str, np.ndarray[Any, Any]]:
        return {name: self._array(tensor) for name, tensor in tensors_in(request)}

    def _array(self, tensor: v1.Tensor) -> np.ndarray[Any, Any]:
        dtype, data = BY_WIRE[tensor.dtype].numpy, tensor.data
        if tensor.HasField("shared_memory"):
            nbytes = int(np.prod(list(tensor.shape))) * dtype.itemsize
            span = tensor.shared_memory
            data = os.pread(self._regions[span.region_id], nbytes, span.offset_bytes)
        return np.frombuffer(data, dtype).reshape(tensor.shape)


class Runs(RunServiceServicer):
    def __init__(self, service: FakeService) -> None:
        self._service = service
        self._store = service.store

    def CreateRun(self, request: v1.CreateRunRequest, context: grpc.ServicerContext) -> v1.CreateRunResponse:
        with self._answering(request, context):
            return self._store.create(request)

    def GetRun(self, request: v1.GetRunRequest, context: grpc.ServicerContext) -> v1.GetRunResponse:
        with self._answering(request, context):
            return v1.GetRunResponse(run=self._store.get(request.name).message())

    def ListRuns(self, request: v1.ListRunsRequest, context: grpc.ServicerContext) -> v1.ListRunsResponse:
        with self._answering(request, context):
            found = [self._store.get(name).message(whole=False) for name in self._store.names(request.name_prefix)]
            response = v1.ListRunsResponse()
            response.next_page_token = page(found, request.page_token, lambda run: response.runs.append(run))
            return response

    def ListRunKeys(self, request: v1.ListRunKeysRequest, context: grpc.ServicerContext) -> v1.ListRunKeysResponse:
        with self._answering(request, context):
            kept = self._store.get(request.name).keys
            chosen = [name for name in kept if not request.HasField("slice") or kept[name].slice == request.slice]
            response = v1.ListRunKeysResponse()

            def add(name: str) -> None:
                key = response.keys.add(key=name, slice=kept[name].slice, sums=kept[name].sums.to_message())
                key.commit_time.FromSeconds(kept[name].order)

            response.next_page_token = page(sorted(chosen, key=str.encode), request.page_token, add)
            return response

    def FindMissingKeys(self, request: v1.FindMissingKeysRequest, context: grpc.ServicerContext) -> Any:
        with self._answering(request, context):
            check_number(len(request.keys))
            kept = self._store.get(request.name).keys
            return v1.FindMissingKeysResponse(missing=[key for key in request.keys if key not in kept])

    def WatchRun(self, request: v1.WatchRunRequest, context: grpc.ServicerContext) -> Iterator[v1.WatchRunResponse]:
        with self._answering(request, context), self._watching():
            run = self._store.get(request.name).message(whole=False)
            yield v1.WatchRunResponse(run=run)
            while run.state != FINISHED and context.is_active():
                with self._store.changed:
                    self._store.changed.wait(0.05)
                    now = self._store.get(request.name).message(whole=False)
                if self._service.refusals:
                    raise self._service.refusals.pop(0)
                if now != run:
                    run = now
                    yield v1.WatchRunResponse(run=run)

    def FinishRun(self, request: v1.FinishRunRequest, context: grpc.ServicerContext) -> v1.FinishRunResponse:
        with self._answering(request, context):
            check_number(len(request.keys.keys))
            return v1.FinishRunResponse(run=self._store.finish(request))

    def DeleteRun(self, request: v1.DeleteRunRequest, context: grpc.ServicerContext) -> v1.DeleteRunResponse:
        with self._answering(request, context):
            self._store.delete(request.name)
            return v1.DeleteRunResponse()

    @contextmanager
    def _watching(self) -> Iterator[None]:
        with self._store.changed:
            self._service.watchers += 1
        try:
            yield
        finally:
            with self._store.changed:
                self._service.watchers -= 1

    @contextmanager
    def _answering(self, request: Any, context: grpc.ServicerContext) -> Iterator[None]:
        self._service.asked.append(request)
        with ending(context, self._service):
            yield


@contextmanager
def ending(context: grpc.ServicerContext, service: FakeService) -> Iterator[None]:
    """Ends a call with the status of a refusal."""
    try:
        if service.refusals:
            raise service.refusals.pop(0)
        yield
    except RefusedError as error:
        context.abort_with_status(rpc_status.to_status(status_of(error)))


def status_of(error: RefusedError) -> status_pb2.Status:
    status = status_pb2.Status(code=error.code.value[0], message=str(error))
    for detail in error.details:
        status.details.add().Pack(detail)
    return status


def check_number(keys: int) -> None:
    if keys > LIMITS.max_request_keys:
        raise RefusedError(grpc.StatusCode.INVALID_ARGUMENT, f"keys: expected at most 3, got {keys}")


@contextmanager
def serving_runs() -> Iterator[FakeService]:
    """The service on a free port."""
    service, server = FakeService(), grpc.server(ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
    add_RunServiceServicer_to_server(Runs(service), server)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers(Losses(service))),))
    healthy = health.HealthServicer(experimental_non_blocking=False)
    healthy.set(NAME, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    service.target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield service
    finally:
        server.stop(None).wait()


def handlers(losses: Losses) -> dict[str, Any]:
    unary, messages = grpc.unary_unary_rpc_method_handler, v1.EvaluateResponse.SerializeToString
    return {
        "Evaluate": unary(losses.Evaluate, None, messages),
        "BatchEvaluate": unary(
            losses.BatchEvaluate, v1.BatchEvaluateRequest.FromString, v1.BatchEvaluateResponse.SerializeToString
        ),
        "EvaluateStream": grpc.stream_stream_rpc_method_handler(losses.EvaluateStream),
        "GetCapabilities": unary(
            losses.GetCapabilities,
            v1.GetCapabilitiesRequest.FromString,
            v1.GetCapabilitiesResponse.SerializeToString,
        ),
        "LeaseSharedMemory": grpc.unary_stream_rpc_method_handler(
            losses.LeaseSharedMemory,
            v1.LeaseSharedMemoryRequest.FromString,
            v1.LeaseSharedMemoryResponse.SerializeToString,
        ),
    }
