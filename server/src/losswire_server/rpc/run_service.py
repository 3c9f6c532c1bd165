"""The RPCs of runs, one method each."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message

from losswire import v1
from losswire.errors import FieldError
from losswire.parsing import parse
from losswire.v1 import run_service_pb2
from losswire_server.calls.evaluation import Caller
from losswire_server.calls.runs import RunCalls
from losswire_server.requests.check import check_known
from losswire_server.rpc.edge import Edge, Method

DESCRIPTOR = run_service_pb2.DESCRIPTOR.services_by_name["RunService"]
NAME = DESCRIPTOR.full_name
MOST_BYTES = 2**21  # of a message: class weights of a large vocabulary, or as many keys as one may have
MOST_FIELDS = 2000


class RunService:
    """Each method takes the message and who calls."""

    def __init__(self, calls: RunCalls) -> None:
        self._calls = calls

    async def CreateRun(self, request: v1.CreateRunRequest, caller: Caller) -> v1.CreateRunResponse:
        return await self._calls.create(request, caller)

    async def GetRun(self, request: v1.GetRunRequest, caller: Caller) -> v1.GetRunResponse:
        return await self._calls.get(request, caller)

    async def ListRuns(self, request: v1.ListRunsRequest, caller: Caller) -> v1.ListRunsResponse:
        return await self._calls.list_runs(request, caller)

    async def ListRunKeys(self, request: v1.ListRunKeysRequest, caller: Caller) -> v1.ListRunKeysResponse:
        return await self._calls.list_keys(request, caller)

    async def FindMissingKeys(self, request: v1.FindMissingKeysRequest, caller: Caller) -> v1.FindMissingKeysResponse:
        return await self._calls.find_missing(request, caller)

    def WatchRun(self, request: v1.WatchRunRequest, caller: Caller) -> AsyncIterator[v1.WatchRunResponse]:
        return self._calls.watch(request, caller)

    async def FinishRun(self, request: v1.FinishRunRequest, caller: Caller) -> v1.FinishRunResponse:
        return await self._calls.finish(request, caller)

    async def DeleteRun(self, request: v1.DeleteRunRequest, caller: Caller) -> v1.DeleteRunResponse:
        return await self._calls.delete(request, caller)

    def add_to(self, server: grpc.aio.Server, edge: Edge) -> None:
        """Registers the methods as generated code would, wrapped by the edge."""
        handlers = {method.name: edge.around(method.name, self._method(method)) for method in DESCRIPTOR.methods}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))

    def _method(self, method: Any) -> Method:
        kind, answer = getattr(v1, method.input_type.name), getattr(v1, method.output_type.name)
        return Method(
            getattr(self, method.name),
            partial(_parse, kind),
            answer.SerializeToString,
            many_answers=method.server_streaming,
            most_bytes=MOST_BYTES,
        )


def _parse(kind: type[Message], data: bytes) -> Message:
    if len(data) > MOST_BYTES:
        raise FieldError("request", f"expected at most {MOST_BYTES} bytes, got {len(data)}")
    message = parse(kind, data, most_fields=MOST_FIELDS)
    check_known(message)
    return message
